"""The Dockerfile is free of lint and agrees with compose.yaml."""

import subprocess
import sys
from collections import defaultdict
from pathlib import Path

from devstack.service_process import ROOT
from tests.support.container_files import Step, compose, dockerfile_stages


def step(name: str) -> Step:
    """Return the only step of that name in the last stage."""
    (found,) = (step for step in dockerfile_stages()[-1] if step.name == name)
    return found


def test_lint() -> None:
    """Hadolint reports nothing."""
    lint = [str(Path(sys.executable).with_name("hadolint")), "--no-color", "Dockerfile"]
    done = subprocess.run(lint, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_metrics_folder() -> None:
    """The image's user owns the folder that compose.yaml mounts for metrics."""
    *command, folder = step("RUN").text.split()
    user, _, group = step("USER").text.partition(":")
    assert command == f"install --directory --owner={user} --group={group}".split()
    run = compose(defaultdict(str))["services"]["service"]
    assert run["volumes"] == [f"metrics:{folder}"]
    assert run["environment"]["METRICS_FOLDER"] == folder
