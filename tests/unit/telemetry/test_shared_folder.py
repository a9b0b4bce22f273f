"""Workers share a folder, and each has a number that no other running worker has."""

import os
from pathlib import Path

import pytest

from errors import ConfigurationError
from telemetry.shared_folder import SharedFolder


def test_numbers(tmp_path: Path) -> None:
    """A worker gets the lowest free number and continues the files of its previous owner."""
    first, second = SharedFolder(tmp_path), SharedFolder(tmp_path)
    assert (first.number, second.number) == (0, 1)
    counts = tmp_path / "counter_0.db"
    counts.write_bytes(b"counts")
    (tmp_path / "of-another-program.lock").touch()
    assert first.vacant_numbers() == []
    first.close()
    assert second.vacant_numbers() == [0]
    third = SharedFolder(tmp_path)
    assert (third.number, counts.read_bytes()) == (0, b"counts")
    for folder in (second, third):
        folder.close()


def test_reserved(tmp_path: Path) -> None:
    """The files are allocated before they are mapped, so that a full disk kills no worker."""
    folder = SharedFolder(tmp_path)
    files = list(tmp_path.glob("*_0.db"))
    assert len(files) == 3
    for file in files:
        found = file.stat()
        assert 512 * found.st_blocks >= found.st_size > 0
    folder.close()


def test_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a chosen folder the process has its own, which it removes."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    folder = SharedFolder(None)
    assert folder.path.parent == tmp_path
    assert folder.path.stat().st_mode & 0o777 == 0o700
    folder.close()
    assert list(tmp_path.iterdir()) == []


def test_orphaned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder of a supervisor that has ended is removed."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    orphaned = tmp_path / f"image-api-metrics-{os.geteuid()}-{os.getpid()}-1"
    orphaned.mkdir()
    SharedFolder(tmp_path / "chosen").close()
    assert not orphaned.exists()


@pytest.mark.parametrize("end", ["x-1", "1-1"])
def test_foreign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str) -> None:
    """Folders of other users with such names are kept, and do not prevent the start."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    other = os.geteuid() + 1
    monkeypatch.setattr("os.geteuid", lambda: other)
    foreign = tmp_path / f"image-api-metrics-{other}-{end}"
    foreign.mkdir()
    (foreign / "0.lock").symlink_to(tmp_path / "victim")
    SharedFolder(tmp_path / "chosen").close()
    assert foreign.exists()
    assert not (tmp_path / "victim").exists()


def test_unusable(tmp_path: Path) -> None:
    """A folder that cannot be used prevents the start with a sentence that names the variable."""
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match=r"^Configuration: PROMETHEUS_MULTIPROC_DIR: "):
        SharedFolder(tmp_path / "file")
