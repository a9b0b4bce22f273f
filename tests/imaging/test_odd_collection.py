"""Pillow's test pictures are accepted, except those that docs/odd-pictures.md lists."""

import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from devstack.service_process import ROOT
from tests.support.inspections import inspecting, verdict

pytestmark = pytest.mark.soak
_SOURCE = "pillow==13.0.0"
_EXTENSIONS = {"png": "png", "apng": "png", "jpg": "jpg", "jpeg": "jpg", "gif": "gif",
               "webp": "webp", "mpo": "jpg"}  # fmt: skip
_LEAST_FILES = 500


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Return the pictures in Pillow's source archive; skip without access to a package index."""
    folder = tmp_path_factory.mktemp("sources")
    command = ["download", "--quiet", "--no-deps", "--no-binary", ":all:", _SOURCE]
    done = subprocess.run(
        [sys.executable, "-m", "pip", *command, "--dest", str(folder)],
        check=False,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        reason = f"cannot download {_SOURCE}: {done.stderr[-500:]}"
        if os.environ.get("REQUIRE_SERVICES") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    with tarfile.open(next(folder.glob("*.tar.gz"))) as archive:
        return {
            member.name.partition("/")[2]: opened.read()
            for member in archive
            if Path(member.name).suffix[1:] in _EXTENSIONS
            and (opened := archive.extractfile(member))
        }


def test_collection(collection: dict[str, bytes]) -> None:
    """Exactly the listed files are refused, for the listed reasons."""
    published = dict(
        re.findall(
            r"^\| `(.+?)` \| (.+?) \|$", (ROOT / "docs/odd-pictures.md").read_text(), re.MULTILINE
        )
    )
    assert len(collection) >= _LEAST_FILES
    refused = {}
    with inspecting() as inspector:
        for name, content in collection.items():
            found = verdict(inspector, content, _EXTENSIONS[Path(name).suffix[1:]])
            if found.verdict != "accepted":
                refused[name] = found.detail.partition(" image: ")[2].rstrip(".") or found.detail
    assert refused == published
