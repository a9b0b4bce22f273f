"""The performance pages match the measured results."""

import shutil
import sys
from pathlib import Path

import pytest

from benchmarks import RESULTS, report


def test_documents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """docs/performance.md, its picture and the table of docs/sizing.md match the results file."""
    for name in (RESULTS.name, "sizing.md"):
        shutil.copy(RESULTS.with_name(name), tmp_path)
    results = tmp_path / RESULTS.name
    monkeypatch.setattr(sys, "argv", ["report", "--json", str(results)])
    assert report.main() == 0
    for name in ("performance.md", "performance.svg", "sizing.md"):
        assert (tmp_path / name).read_text() == RESULTS.with_name(name).read_text(), name
