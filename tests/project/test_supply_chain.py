"""Dependencies are pinned, listed in an SBOM, audited for vulnerabilities and kept up to date."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from devstack.service_process import ROOT

WORKFLOWS = sorted((ROOT / ".github" / "workflows").iterdir())
_LOCK = (ROOT / "requirements.lock").read_text()
LOCKED = dict(re.findall(r"^([\w.-]+)==([^ ;]+)", _LOCK, re.MULTILINE))


def steps(workflow: Path) -> list[dict[str, Any]]:
    """Return the steps of a workflow that has one job."""
    (job,) = YAML(typ="safe").load(workflow)["jobs"].values()
    found: list[dict[str, Any]] = job["steps"]
    return found


@pytest.mark.parametrize(
    ("schema", "files"),
    [
        ("vendor.github-workflows", WORKFLOWS),
        ("vendor.dependabot", [ROOT / ".github" / "dependabot.yml"]),
    ],
    ids=["workflows", "Dependabot"],
)
def test_schema(schema: str, files: list[Path]) -> None:
    """The workflows and Dependabot's configuration are valid by their schemas."""
    check = str(Path(sys.executable).with_name("check-jsonschema"))
    done = subprocess.run(
        [check, "--builtin-schema", schema, *map(str, files)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def test_actions_are_pinned() -> None:
    """Workflows pin every action to a commit."""
    for workflow in WORKFLOWS:
        used = re.findall(r"uses: (.*)", workflow.read_text())
        assert used
        assert all(re.fullmatch(r"[\w/-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", one) for one in used)


def test_list(tmp_path: Path) -> None:
    """`make sbom` lists every locked package with its version and a hash."""
    # The running environment is up to date; make must not rebuild it during the test.
    installed = "--assume-old=.venv/requirements-dev.lock"
    make = ["/usr/bin/env", "make", installed, "sbom", f"DIST={tmp_path}"]
    subprocess.run(make, cwd=ROOT, check=True, capture_output=True)
    (file,) = tmp_path.iterdir()
    listed = json.loads(file.read_text())
    assert listed["metadata"]["component"]["name"] == "image-api"
    assert {one["name"]: one["version"] for one in listed["components"]} == LOCKED
    for component in listed["components"]:
        references = component["externalReferences"]
        assert any(hashed["alg"] == "SHA-256" for one in references for hashed in one["hashes"])


def test_build() -> None:
    """Each build lists and audits the deployed packages, and stores the list with the archive."""
    (build,) = (workflow for workflow in WORKFLOWS if workflow.stem == "build_artifact")
    commands = " ".join(step.get("run", "") for step in steps(build))
    assert re.search(r"make sbom audit", commands)
    (kept,) = (step["with"]["path"] for step in steps(build) if "upload-artifact" in str(step))
    assert kept == "dist/"
    dry_run = ["/usr/bin/env", "make", "--dry-run", "audit"]
    audit = subprocess.run(dry_run, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for lock in ("requirements.lock", "requirements-traces.lock"):
        assert lock in audit


def test_dependabot() -> None:
    """Dependabot updates every kind of pinned dependency, and both peers of the benchmarks."""
    updates = YAML(typ="safe").load(ROOT / ".github" / "dependabot.yml")["updates"]
    assert {(update["package-ecosystem"], update["directory"]) for update in updates} == {
        ("github-actions", "/"),
        ("pip", "/"),
        ("pip", "/benchmarks/thumbor"),
        ("npm", "/benchmarks/ipx"),
        ("docker", "/"),
        ("docker-compose", "/"),
    }
