"""Uploads reserve memory, and their process's share of the disk."""

import shutil

import pytest

from errors import OutOfResourcesError, OverloadedError
from web import spool_space
from web.spool_space import SpoolSpace

DISK = 64 * 1024 * 1024


def test_shares(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process reserves at most its share of the space that was free, and returns it."""
    free = DISK

    def usage(_folder: str) -> shutil._ntuple_diskusage:
        return shutil._ntuple_diskusage(DISK, DISK - free, free)

    monkeypatch.setattr(shutil, "disk_usage", usage)
    space = SpoolSpace(2)
    for _ in range(2):
        with space.file_for(DISK // 2, DISK):
            free = DISK // 4  # the file itself takes the space
            with pytest.raises(OverloadedError), space.file_for(0, DISK // 4):
                pass
            with space.file_for(1, DISK), space.file_for(500_000, DISK):
                pass
    with pytest.raises(OutOfResourcesError), space.file_for(0, DISK):
        pass


def test_no_temporary_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that was full before the first upload is an exhausted host, and no bug."""

    def refuse() -> str:
        raise FileNotFoundError("No usable temporary directory found")

    monkeypatch.setattr(spool_space, "gettempdir", refuse)
    with pytest.raises(OutOfResourcesError), SpoolSpace(1).file_for(0, DISK):
        pass
