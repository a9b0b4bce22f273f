"""deploy/aws.yaml passes cfn-lint and checkov, and explains itself."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.cloudformation import FILE

CHECKOV = Path(sys.prefix) / "checkov"
# They differ in what they offer, such as instance classes.
REGIONS = ["us-east-1", "eu-central-1", "ap-southeast-2"]


def test_cfn_lint() -> None:
    """cfn-lint finds neither an error nor a warning."""
    program = Path(sys.executable).with_name("cfn-lint")
    lint = [str(program), "--regions", *REGIONS, "--", str(FILE)]
    done = subprocess.run(lint, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_hadolint() -> None:
    """Hadolint finds nothing in the Dockerfile that adds the certificates of RDS."""
    program = Path(sys.executable).with_name("hadolint")
    lint = [str(program), "--no-color", str(FILE.with_name("Dockerfile"))]
    done = subprocess.run(lint, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@pytest.fixture(scope="module")
def scanned() -> dict[str, Any]:
    """Return checkov's report; skip without checkov, which `make checkov` installs."""
    if not CHECKOV.exists():
        if os.environ.get("REQUIRE_SERVICES") == "1":
            pytest.fail("`make checkov` has not been run")
        pytest.skip("`make checkov` has not been run")
    # Not its own script, which fails in a folder with a space in its name.
    scan = [str(CHECKOV / "bin" / "python"), "-m", "checkov.main", "--skip-download"]
    of_template = ["--framework", "cloudformation", "--file", str(FILE), "--output", "json"]
    done = subprocess.run([*scan, *of_template], capture_output=True, text=True, check=False)
    report: dict[str, Any] = json.loads(done.stdout)["results"]
    return report


def test_checkov(scanned: dict[str, Any]) -> None:
    """Checkov finds no insecure property except those that the template explains."""
    failed = [(one["check_id"], one["resource"]) for one in scanned["failed_checks"]]
    assert failed == []
    assert not scanned["parsing_errors"]
    assert len(scanned["passed_checks"]) > 70


def test_exceptions(scanned: dict[str, Any]) -> None:
    """Each exception gives a reason and names an existing check of checkov."""
    reasons = re.findall(r'skip: \[\{id: (\w+), comment: "([^"]{20,})"\}\]', FILE.read_text())
    made = {one["check_id"] for one in scanned["skipped_checks"]}
    assert {name for name, _ in reasons} == made
    assert len(reasons) == FILE.read_text().count("checkov: {skip")


def test_comments() -> None:
    """A comment before each resource, or before each group of them, says what it is for."""
    resources = FILE.read_text().partition("\nResources:\n")[2].partition("\nOutputs:\n")[0]
    groups = [group.strip("\n") for group in resources.split("\n\n") if "\n    Type: " in group]
    assert len(groups) >= 35
    assert [group for group in groups if not group.startswith("  # ")] == []
