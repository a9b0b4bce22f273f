"""Folders list their files without following links, and copies are bounded."""

import io
import os
import resource
from pathlib import Path

import pytest

from services.transfer.failures import FileRefusedError, TransferError
from services.transfer.sources import Folder, spool


def test_folder(tmp_path: Path) -> None:
    """Files are listed in order; links and pipes have a reason."""
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "b").write_bytes(b"22")
    (tmp_path / "a").write_bytes(b"1")
    (tmp_path / "c").symlink_to("a")
    (tmp_path / "d").symlink_to("x")
    os.mkfifo(tmp_path / "e")
    found = {file.path: file for file in Folder(tmp_path).files()}
    assert list(found) == ["a", "c", "d", "e", "x/b"]
    assert (found["a"].size, found["x/b"].size) == (1, 2)
    assert {path for path, file in found.items() if "link" in file.reason} == {"c", "d"}
    assert "regular" in found["e"].reason


def test_changed_folder(tmp_path: Path) -> None:
    """A file that became a link or a pipe, or is gone, is refused when it is read."""
    for name in "abc":
        (tmp_path / name).write_bytes(b"1")
    folder = Folder(tmp_path)
    fetches = [fetch for _, fetch in folder.contents(list(folder.files()), 10)]
    for name in "abc":
        (tmp_path / name).unlink()
    (tmp_path / "a").symlink_to("/etc/hostname")
    os.mkfifo(tmp_path / "b")
    for fetch in fetches:
        with pytest.raises(FileRefusedError):
            fetch()
    with pytest.raises(TransferError, match="cannot be read"):
        list(Folder(tmp_path / "nowhere").files())


def test_file_on_disk() -> None:
    """A file that is too large for memory is copied to disk."""
    chunks = [bytes([number]) * 1_000_000 for number in range(5)]
    content = b"".join(chunks)
    with spool(chunks) as file:
        assert not isinstance(file, io.BytesIO)
        file.seek(0)
        assert file.read() == content


def test_full_disk() -> None:
    """A full disk ends the transfer, even if only the end of a file does not fit."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3_000_000, limits[1]))
    try:
        with pytest.raises(TransferError, match="Temporary files cannot be written"):
            spool([bytes(3_000_000), bytes(100)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_growing_file() -> None:
    """A file that is larger than its source announced is not read to its end."""
    with spool([bytes(1000)] * 100, 5000) as file:
        assert file.seek(0, os.SEEK_END) == 6000
