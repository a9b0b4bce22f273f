"""Metrics that jobs write are read by the service, and the newest count."""

import logging
import os
from pathlib import Path

import pytest

from telemetry.job_metrics import read_jobs, write_sweep, write_verification


def samples(*folders: Path) -> dict[str, float]:
    """Return the samples in these folders by name and label."""
    return {
        " ".join([sample.name, *sample.labels.values()]): sample.value
        for family in read_jobs(list(folders))
        for sample in family.samples
    }


def test_there_and_back(tmp_path: Path) -> None:
    """Metrics of sweeps and verifications are read as written, with the time of their end."""
    write_sweep(tmp_path, {"U": 2, "D": 0}, 1.5)
    write_verification(tmp_path, {"orphan": 3})
    found = samples(tmp_path)
    assert found.pop("image_api_last_sweep_timestamp_seconds") > 0
    assert found.pop("image_api_last_verify_timestamp_seconds") > 0
    assert found == {
        "image_api_journal_entries U": 2,
        "image_api_journal_entries D": 0,
        "image_api_oldest_due_entry_age_seconds": 1.5,
        "image_api_verify_findings orphan": 3,
    }


def test_newest(tmp_path: Path) -> None:
    """The newer of two sweeps counts, regardless of the order of their folders."""
    old, new = tmp_path / "old", tmp_path / "new"
    for number, folder in enumerate((old, new)):
        folder.mkdir()
        write_sweep(folder, {"D": number}, 0)
        os.utime(folder / "sweep.prom", (number, number))
    for folders in ((old, new), (new, old)):
        assert samples(*folders)["image_api_journal_entries D"] == 1


def test_unusable(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A folder that cannot be written and a file that cannot be read are only logged."""
    with caplog.at_level(logging.WARNING, "image_api"):
        write_sweep(tmp_path / "missing", {}, 0)
        (tmp_path / "sweep.prom").write_text("nonsense {")
        write_verification(tmp_path, {})
        impossible = tmp_path / ("x" * 300)
        assert "image_api_last_verify_timestamp_seconds" in samples(impossible, tmp_path)
    # The folder, both files of the impossible folder, and the nonsense.
    assert [record.levelname for record in caplog.records] == ["WARNING"] * 4
