"""The workflow `try AWS` is off, names what deploy/aws.yaml has, and deletes whatever fails."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from devstack.service_process import ROOT
from tests.support.cloudformation import REQUIRED, source

WORKFLOW = ROOT / ".github" / "workflows" / "try_aws.yaml"
PARAMETERS, OUTPUTS = set(source()["Parameters"]), set(source()["Outputs"])
# Stands for every program: answers questions, and fails where it is told to.
_PROGRAM = """#!/bin/sh
echo "${0##*/} $*" >>"$CALLS"
case "$0 $*" in *"$FAILING"*) exit 1 ;; esac
case "$*" in
*--logical-resource-id*Bucket*) echo a-bucket ;;
*--logical-resource-id*Database*) echo a-database ;;
*describe-db-snapshots*) echo a-snapshot another-snapshot ;;
*describe-log-groups*) echo a-group ;;
esac
"""
DELETIONS = {
    "--no-deletion-protection",
    "delete-stack",
    "object_versions.delete",
    "delete-bucket --bucket a-bucket",
    "delete-db-snapshot --db-snapshot-identifier a-snapshot",
    "delete-db-snapshot --db-snapshot-identifier another-snapshot",
    "delete-log-group --log-group-name a-group",
    "batch-delete-image --repository-name images/image-api",
}


@pytest.fixture(scope="module")
def workflow() -> dict[Any, Any]:
    """Return the workflow."""
    document: dict[Any, Any] = yaml.safe_load(WORKFLOW.read_text())
    return document


def commands_of(workflow: dict[Any, Any]) -> dict[str, str]:
    """Return the scripts of its steps by name."""
    return {step["name"]: step["run"] for step in workflow["jobs"]["try"]["steps"] if "run" in step}


def test_workflow_is_off(workflow: dict[Any, Any]) -> None:
    """It runs only by hand and with a variable, and states that nobody has run it."""
    assert list(workflow[True]) == ["workflow_dispatch"]  # YAML 1.1 reads `on` as true
    (job,) = workflow["jobs"].values()
    assert job["if"] == "vars.TRY_AWS == 'yes'"
    assert workflow["permissions"] == {}
    assert job["permissions"] == {"contents": "read", "id-token": "write"}
    assert "NOBODY HAS RUN THIS WORKFLOW YET" in WORKFLOW.read_text()
    *_, last = job["steps"]
    assert last["if"] == "always()"  # a failed try is deleted as well


def test_workflow_agrees(workflow: dict[Any, Any]) -> None:
    """It gives every parameter that has no default, and uses outputs that exist."""
    commands = commands_of(workflow)
    given = set(re.findall(r'"([A-Z]\w+)=', commands["Deploy"]))
    assert set(REQUIRED) <= given
    assert given - {"KEY"} <= PARAMETERS
    used = set(re.findall(r"\$([A-Z][a-z]\w+)", "\n".join(commands.values())))
    assert used <= OUTPUTS
    for resource in re.findall(r"\$\(resource (\w+)\)", commands["Delete everything"]):
        assert resource in source()["Resources"]
    # Expressions in scripts would be pasted into them; variables are quoted (zizmor, shellcheck).
    assert not any("${{" in command for command in commands.values())


@pytest.mark.parametrize(
    ("failing", "status", "left"),
    [
        ("nothing fails", 0, set()),
        ("modify-db-instance", 1, set()),
        ("describe-db-instances", 0, {"--no-deletion-protection"}),
        ("wait stack-delete-complete", 1, set()),
        ("import boto3", 1, set()),
        ("delete-db-snapshot", 1, set()),
    ],
)
def test_deletes_everything(
    workflow: dict[Any, Any], tmp_path: Path, failing: str, status: int, left: set[str]
) -> None:
    """Whatever fails, everything else is deleted, and the run fails in the end."""
    for name in ("aws", "pip", "python"):
        (tmp_path / name).write_text(_PROGRAM)
        (tmp_path / name).chmod(0o755)
    calls = tmp_path / "calls"
    done = subprocess.run(
        ["/bin/bash", "-e", "-c", commands_of(workflow)["Delete everything"]],
        env={
            "PATH": f"{tmp_path}:/usr/bin:/bin",
            "CALLS": str(calls),
            "FAILING": failing,
            "STACK": "a-stack",
            "REPOSITORY": "111122223333.dkr.ecr.eu-central-1.amazonaws.com/images/image-api",
        },
        check=False,
    )
    assert done.returncode == status
    made = calls.read_text()
    assert {deletion for deletion in DELETIONS if deletion not in made} == left
