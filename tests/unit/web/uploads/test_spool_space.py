"""Uploads reserve memory, and their process's share of the disk."""

import shutil
from contextlib import ExitStack

import pytest

from errors import OutOfResourcesError, OverloadedError
from web.uploads import spool_space
from web.uploads.spool_space import SpoolSpace

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
    """A disk that is full before the first upload means an exhausted host, not a bug."""

    def refuse() -> str:
        raise FileNotFoundError("No usable temporary directory found")

    monkeypatch.setattr(spool_space, "gettempdir", refuse)
    with pytest.raises(OutOfResourcesError), SpoolSpace(1).file_for(0, DISK):
        pass


def test_memory() -> None:
    """Small uploads stay in memory until all of them together would take too much."""
    space, most = SpoolSpace(1), spool_space._MEMORY_BYTES
    with ExitStack() as uploads:
        for _ in range(spool_space._ALL_MEMORY_BYTES // most):
            assert uploads.enter_context(space.file_for(most, most)) is None
        assert uploads.enter_context(space.file_for(1, most)) is not None
    with space.file_for(most, most) as file:
        assert file is None


def test_unknown_length() -> None:
    """An upload that does not announce its length gets a file, because it may be large."""
    with SpoolSpace(1).file_for(0, 1) as file:
        assert file is not None
        file.write(b"x")
    assert file.closed
