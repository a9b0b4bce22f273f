"""The files that an import reads, and copies of them."""

import os
import stat
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from itertools import chain
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

from s3_client import HashedBytes, ObjectBody
from services.transfer.failures import FileRefusedError, TransferError

# Larger files are copied to disk. Storing a file from memory takes half the CPU.
_MEMORY_BYTES = 2 * 1024 * 1024
PIECE_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file of a source.

    `position` identifies it, because an archive may contain a path twice. `path` is relative to the
    source and has slashes. `reason` says why the file cannot be imported, and is empty if it can.
    """

    position: int
    path: str
    size: int
    modified: datetime | None = None
    reason: str = ""


def spool(chunks: Iterable[bytes], max_bytes: int = sys.maxsize) -> IO[bytes]:
    """Copy chunks to a file in memory or on disk, which the caller closes.

    Stops at the first chunk beyond `max_bytes`, so that no file fills the disk. Raises
    TransferError if the disk is full, and what `chunks` raises.
    """
    bounded = _bounded(chunks, max_bytes)
    first = b"".join(_bounded(bounded, _MEMORY_BYTES))
    return HashedBytes(first) if len(first) <= _MEMORY_BYTES else _on_disk(first, bounded)


def _bounded(chunks: Iterable[bytes], max_bytes: int) -> Iterator[bytes]:
    """Yield chunks until their total size exceeds `max_bytes`."""
    size = 0
    for chunk in chunks:
        yield chunk
        size += len(chunk)
        if size > max_bytes:
            return


def _on_disk(first: bytes, rest: Iterable[bytes]) -> IO[bytes]:
    file = TemporaryFile()  # noqa: SIM115
    try:
        for chunk in chain([first], rest):
            _write(file, chunk)
    except BaseException:
        with suppress(OSError):  # closing writes once more
            file.close()
        raise
    return file


def _write(file: IO[bytes], chunk: bytes) -> None:
    try:
        file.write(chunk)
        file.flush()
    except OSError as exc:
        raise TransferError(f"Temporary files cannot be written: {exc.strerror}.") from exc


Fetch = Callable[[], IO[bytes]]
"""Copies one file, in any thread. Raises FileRefusedError, TransferError or UnavailableError."""


class Source:
    """Files to import. The first pass checks all names with `files`, the second reads `contents`.

    A source implements `files`, and either `copy` or `contents`.
    """

    def files(self) -> Iterator[SourceFile]:
        """Yield every file. Raises TransferError or StorageUnavailableError."""
        raise NotImplementedError

    def contents(
        self, files: Iterable[SourceFile], max_bytes: int
    ) -> Iterator[tuple[SourceFile, Fetch]]:
        """Yield each file with a function that copies it, and stops beyond `max_bytes`."""
        for file in files:
            yield file, partial(self.copy, file, max_bytes)

    def copy(self, file: SourceFile, max_bytes: int) -> IO[bytes]:
        """Copy one file, in any thread and in any order."""
        raise NotImplementedError

    def requests(self, _files: int) -> str:
        """Describe the requests that reading this number of files takes; a disk takes none."""
        return ""


def pieces(file: IO[bytes] | ObjectBody) -> Iterator[bytes]:
    """Yield the rest of a file in pieces."""
    while piece := file.read(PIECE_BYTES):
        yield piece


def decoded(path: str) -> tuple[str, str]:
    """Return a printable form of a path, and why the path cannot be used; "" if it can.

    Python represents bytes that are not UTF-8 as lone surrogates.
    """
    try:
        path.encode()
    except UnicodeEncodeError:
        return os.fsencode(path).decode(errors="replace"), "The path is not valid UTF-8."
    return path, ""


class Folder(Source):
    """A folder on disk. Symbolic links are not followed."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def files(self) -> Iterator[SourceFile]:
        """Yield every file, sorted by name within each folder. Raises TransferError."""
        for position, entry in enumerate(self._walk()):
            path, reason = decoded(entry.relative_to(self._root).as_posix())
            try:
                status = entry.lstat()
            except OSError as exc:
                yield SourceFile(position, path, 0, reason=_failure(exc))
                continue
            if stat.S_ISLNK(status.st_mode):
                reason = reason or "It is a symbolic link."
            elif stat.S_ISDIR(status.st_mode):
                reason = reason or "It is a folder that cannot be read."
            elif not stat.S_ISREG(status.st_mode):
                reason = reason or "It is not a regular file."
            yield SourceFile(position, path, status.st_size, date_of(status.st_mtime), reason)

    def _walk(self) -> Iterator[Path]:
        """Yield the paths of all files and links, and of folders that cannot be read."""
        failures: list[OSError] = []
        for folder, folders, names in os.walk(self._root, onerror=failures.append):
            folders.sort()
            # `Path` raises for a path that is too long.
            linked = [name for name in folders if os.path.islink(Path(folder, name))]  # noqa: PTH114
            yield from (Path(folder, name) for name in sorted([*names, *linked]))
        for failure in failures:
            if Path(failure.filename) == self._root:
                raise TransferError(f"{self._root} cannot be read: {failure.strerror}.")
            yield Path(failure.filename)

    def copy(self, file: SourceFile, max_bytes: int) -> IO[bytes]:
        """Copy a file, unless it has become a link or a pipe since it was listed."""
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
        try:
            with os.fdopen(os.open(self._root / file.path, flags), "rb") as opened:
                if not stat.S_ISREG(os.fstat(opened.fileno()).st_mode):
                    raise FileRefusedError("It is not a regular file.")
                return spool(pieces(opened), max_bytes)
        except OSError as exc:
            raise FileRefusedError(_failure(exc)) from exc


def _failure(error: OSError) -> str:
    return f"It cannot be read: {error.strerror}."


def date_of(timestamp: float) -> datetime | None:
    """Return the date of a Unix time stamp, or None if it is out of range."""
    with suppress(OverflowError, ValueError, OSError):
        return datetime.fromtimestamp(timestamp, UTC)
    return None
