"""Fixtures shared by the tests of the repository: the archive that is deployed."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from devstack.service_process import ROOT
from tests.support.container_files import Build


@pytest.fixture(scope="session")
def build(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """Return a function that builds the archive in a new folder; skip outside a git checkout."""
    if not (shutil.which("git") and (ROOT / ".git").exists()):
        reason = "`make dist` needs git and a git checkout; no archive was built"
        if os.environ.get("REQUIRE_SERVICES") == "1":
            pytest.fail(reason)
        pytest.skip(reason)

    def run(folder: str) -> Path:
        target = tmp_path_factory.mktemp(folder)
        make = ["/usr/bin/env", "make", "dist", f"DIST={target}"]
        subprocess.run(make, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        (archive,) = target.iterdir()
        return archive

    return run
