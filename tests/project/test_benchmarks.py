"""The performance pages match the measured results, and the peers are pinned."""

import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import COMPARISON, RESULTS, comparison, report
from benchmarks.results import Results
from benchmarks.verdicts import verdicts
from devstack.service_process import ROOT

PEERS = ROOT / "benchmarks"


@pytest.fixture(scope="module")
def compared() -> Results:
    """Return the results of `make bench-peers`."""
    return Results.read(COMPARISON)


def test_documents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """docs/performance.md, its picture and the table of docs/sizing.md match the results files."""
    for name in (RESULTS.name, COMPARISON.name, "sizing.md"):
        shutil.copy(RESULTS.with_name(name), tmp_path)
    monkeypatch.setattr(sys, "argv", ["report", "--folder", str(tmp_path)])
    assert report.main() == 0
    for name in ("performance.md", "performance.svg", "sizing.md"):
        assert (tmp_path / name).read_text() == RESULTS.with_name(name).read_text(), name


def test_misses_have_reasons(compared: Results) -> None:
    """A missed target is named with its reason."""
    missed = [one for one in verdicts(compared, Results.read(RESULTS)) if one.missed]
    assert not [one.target for one in missed if not one.reason]


def test_wins_of_peers(compared: Results) -> None:
    """The CPU of a peer is bold where the peer needs less of it, and nowhere else."""
    one = comparison.requests(compared)[0]
    for share, named in ((0.9, True), (1.1, False)):
        peer = replace(one.peers[0], cpu_ms=share * one.ours.cpu_ms, result=None)
        shown = comparison.table([replace(one, peers=(peer,))])
        assert ("**" in shown) is named


def test_verdict(compared: Results) -> None:
    """A target is missed if its result is above the limit."""
    verdict = next(one for one in verdicts(compared, compared) if one.measured)
    assert verdict.measured
    value = verdict.measured.value
    assert replace(verdict, limit=value / 2).sentence().startswith("**missed by 100%")
    assert replace(verdict, limit=value).sentence() == "met"
    assert replace(verdict, measured=None).sentence() == "not measured"


def test_locks() -> None:
    """The peers are locked with hashes, and without the host of a registry."""
    lock = (PEERS / "thumbor" / "requirements.lock").read_text()
    assert lock.count("==") <= lock.count("--hash=sha256:")
    packages = json.loads((PEERS / "ipx" / "package-lock.json").read_text())["packages"]
    locked = [package for name, package in packages.items() if name]
    assert all("integrity" in package or package.get("inBundle") for package in locked)
    assert not any("resolved" in package for package in packages.values())
    assert "://" not in lock


def test_without_node(tmp_path: Path) -> None:
    """Without Node.js, `make bench-peers` says what to install."""
    target = f"{tmp_path}/ipx/package-lock.json"
    make = [shutil.which("make") or "make", target, f"PEERS={tmp_path}", "PYTHON=python3"]
    tools = tmp_path / "tools"
    tools.mkdir()
    for tool in ("sh", "mkdir", "cp", "rm"):
        (tools / tool).symlink_to(shutil.which(tool) or tool)
    done = subprocess.run(
        make, cwd=ROOT, env={"PATH": str(tools)}, capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert re.search(r"^ipx needs Node.js", done.stderr, re.MULTILINE)
