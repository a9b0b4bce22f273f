"""The Dockerfile builds an image that serves without privileges and stops cleanly.

The tests need no Docker: they run the Dockerfile's steps in a folder that stands for the image's
root, and make the result read-only.
"""

import os
import shlex
import signal
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import httpx
import pytest

from devstack.processes import die_with_parent
from devstack.service_process import ROOT
from devstack.waiting import free_port, wait_until
from tests.support.container_files import Build, Step, compose, dockerfile_stages
from tests.support.pictures import png
from tests.support.uploads import upload

BUILD, FINAL = dockerfile_stages()
HERE = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
on_postgresql = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)


def step(name: str) -> Step:
    """Return the only step of that name in the last stage."""
    (found,) = (step for step in FINAL if step.name == name)
    return found


@pytest.fixture(scope="module")
def image(build: Build) -> Iterator[Path]:
    """Run the build's steps; return the folder that stands for the image's root."""
    archive = build("image")
    version = archive.name.removeprefix("image-api-").removesuffix(".tar.gz")
    with tempfile.TemporaryDirectory(prefix="image-") as root:
        folder = root
        for name, text in BUILD[1:]:
            if name == "ADD":
                source, target = text.split()
                assert source.replace("${VERSION}", version) == f"dist/{archive.name}"
                Path(root + target).mkdir()
                unpack = ["/usr/bin/env", "tar", "-xzf", str(archive), "-C", root + target]
                subprocess.run(unpack, check=True)
            elif name == "WORKDIR":
                folder = root + text
            elif name == "RUN":
                run = ["/bin/sh", "-ec", text]
                environment = os.environ | HERE
                quiet = subprocess.DEVNULL
                subprocess.run(run, cwd=folder, env=environment, check=True, stdout=quiet)
            else:
                assert (name, text) == ("ARG", "VERSION")
        for path in [*Path(root).rglob("*")]:
            if not path.is_symlink():
                path.chmod(path.stat().st_mode & ~0o222)
        yield Path(root)


def variables(root: Path) -> dict[str, str]:
    """Return the variables that ENV sets, with paths in that folder."""
    text = step("ENV").text.replace("$PATH", os.environ["PATH"]).replace("/srv", f"{root}/srv")
    return dict(pair.split("=", 1) for pair in shlex.split(text))


# Only root may be able to run this Python. Without capabilities root is bound by file modes.
WITHOUT_RIGHTS = ["setpriv", "--bounding-set=-all", "--no-new-privs"] if os.geteuid() == 0 else []


def healthy(root: Path, port: int) -> bool:
    """Run HEALTHCHECK's command."""
    command = [word.replace("8000", str(port)) for word in step("HEALTHCHECK").command]
    # Docker sets the proxy of its own configuration in containers.
    environment = variables(root) | {"http_proxy": "http://127.0.0.1:9"}
    check = subprocess.run(
        ["/usr/bin/env", *command], env=environment, capture_output=True, check=False, timeout=60
    )
    return check.returncode == 0


def test_lint() -> None:
    """Hadolint reports nothing."""
    lint = [str(Path(sys.executable).with_name("hadolint")), "--no-color", "Dockerfile"]
    done = subprocess.run(lint, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_build_sends_the_archive_only() -> None:
    """The build context contains only the archive, and in particular no `.env`."""
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    assert [line for line in lines if not line.startswith("#")] == ["*", "!dist/*.tar.gz"]


def test_stages() -> None:
    """The final stage copies the built folder to the same path on the same base image."""
    assert step("COPY").text == "--from=build /srv /srv"
    assert BUILD[0].text.removesuffix(" AS build") == FINAL[0].text
    assert {name for name, _ in FINAL} == {
        *("FROM", "COPY", "RUN", "ENV", "WORKDIR", "USER", "EXPOSE", "HEALTHCHECK", "CMD"),
    }


def test_metrics_folder(tmp_path: Path) -> None:
    """The image's user owns the folder that compose.yaml mounts for metrics."""
    *command, folder = step("RUN").text.split()
    user, _, group = step("USER").text.partition(":")
    assert command == f"install --directory --owner={user} --group={group}".split()
    run = compose(defaultdict(str))["services"]["service"]
    assert run["volumes"] == [f"metrics:{folder}"]
    assert run["environment"]["METRICS_FOLDER"] == folder
    if os.geteuid() == 0:
        made = tmp_path / "metrics"
        subprocess.run(["/usr/bin/env", *command, str(made)], check=True)
        assert (made.stat().st_uid, made.stat().st_gid) == (int(user), int(group))


@on_postgresql
def test_serves(image: Path, service_environment: dict[str, str]) -> None:
    """Two workers serve until SIGTERM, without privileges and with only /tmp writable."""
    assert int(step("USER").text.partition(":")[0]) > 0
    port = free_port()
    command = [word.replace("8000", str(port)) for word in step("CMD").command]
    with tempfile.TemporaryDirectory() as scratch, tempfile.TemporaryFile() as log:
        server = subprocess.Popen(
            ["/usr/bin/env", *WITHOUT_RIGHTS, *command],
            cwd=str(image) + step("WORKDIR").text,
            env=variables(image) | service_environment | {"TMPDIR": scratch},
            stdout=log,
            stderr=log,
            preexec_fn=partial(die_with_parent, os.getpid(), signal.SIGTERM),  # noqa: PLW1509
        )
        try:
            assert not healthy(image, port)
            wait_until(
                lambda: server.poll() is not None or healthy(image, port),
                timeout=60,
                what="the container's service",
            )
            with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
                assert upload(client, png(), "a.png").status_code == 201
                assert client.get("/images/a").content == png()
                assert "Swagger" in client.get("/docs").text
        finally:
            server.terminate()
            status = server.wait(timeout=60)
            log.seek(0)
            lines = log.read().decode()
            print(lines)  # noqa: T201
    assert status == 0, lines
    assert lines.count("Started server process") == 2
    assert not healthy(image, port)
