"""What an import reads: its files, and the files themselves, one after another or side by side."""

import os
import stat
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property, partial
from itertools import chain
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Protocol

from s3_client import HashedBytes, sha256_of
from services.transfer.failures import FileRefusedError, TransferError

# Larger files are kept on disk until they are stored. Those in memory take half the CPU to store.
_MEMORY_BYTES = 2 * 1024 * 1024
PIECE_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file of a source.

    `path` is relative to the source, with slashes. `reason` says why it cannot be read, if so.
    `position` counts the files of the source; archives may have two of one path.
    """

    position: int
    path: str
    size: int
    modified: datetime | None = None
    reason: str = ""


class Spooled:
    """A copy of a file of the source, in memory or on disk."""

    def __init__(self, chunks: Iterable[bytes], most: int = sys.maxsize) -> None:
        """Read at most `most` bytes and one piece, so that no file fills the disk."""
        bounded = _bounded(chunks, most)
        first = b"".join(_bounded(bounded, _MEMORY_BYTES))
        # Whoever uses the copy closes it.
        self.file = HashedBytes(first) if len(first) <= _MEMORY_BYTES else _on_disk(first, bounded)
        self.size = self.file.seek(0, os.SEEK_END)

    @cached_property
    def sha256(self) -> str:
        """The SHA-256 of the bytes, hexadecimal."""
        return sha256_of(self.file)


def _bounded(chunks: Iterable[bytes], most: int) -> Iterator[bytes]:
    """Yield chunks until they have more than `most` bytes together."""
    size = 0
    for chunk in chunks:
        yield chunk
        size += len(chunk)
        if size > most:
            return


def _on_disk(first: bytes, rest: Iterable[bytes]) -> IO[bytes]:
    file = TemporaryFile()  # noqa: SIM115
    try:
        for chunk in chain([first], rest):
            _write(file, chunk)
    except BaseException:
        file.close()
        raise
    return file


def _write(file: IO[bytes], chunk: bytes) -> None:
    try:
        file.write(chunk)
    except OSError as exc:
        raise TransferError(f"Temporary files cannot be written: {exc.strerror}.") from exc


Fetch = Callable[[], Spooled]
"""Copies one file, in any thread. Raises FileRefusedError, TransferError or UnavailableError."""


class Source(Protocol):
    """Files to import. Two passes: first all names are checked, then the files are read."""

    def files(self) -> Iterator[SourceFile]:
        """Yield every file. Raises TransferError or StorageUnavailableError."""
        ...

    def contents(
        self, wanted: Iterable[SourceFile], most: int
    ) -> Iterator[tuple[SourceFile, Fetch]]:
        """Yield each of the wanted files with a function that copies at most `most` bytes of it."""
        ...

    def requests(self, files: int) -> str:
        """Describe what reading so many files costs, "" if nothing: a disk needs no requests."""
        _ = files
        return ""


class Readable(Protocol):
    """A file, or the body of an object."""

    def read(self, size: int, /) -> bytes:
        """Return the next bytes, none at the end."""
        ...


def one_by_one(
    wanted: Iterable[SourceFile], most: int, copy: Callable[[SourceFile, int], Spooled]
) -> Iterator[tuple[SourceFile, Fetch]]:
    """Yield each file with a function that copies it, where files can be read in any order."""
    for file in wanted:
        yield file, partial(copy, file, most)


def pieces(file: Readable) -> Iterator[bytes]:
    """Yield the rest of a file in pieces."""
    while piece := file.read(PIECE_BYTES):
        yield piece


def decoded(path: str) -> tuple[str, str]:
    """Return a path that can be printed, and why it cannot be used, "" if it can.

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
        """Yield every file, in the order of the names in each folder. Raises TransferError."""
        for position, found in enumerate(self._walk()):
            path, reason = decoded(found.relative_to(self._root).as_posix())
            try:
                about = found.lstat()
            except OSError as exc:
                yield SourceFile(position, path, 0, reason=_failure(exc))
                continue
            if stat.S_ISLNK(about.st_mode):
                reason = reason or "It is a symbolic link."
            elif stat.S_ISDIR(about.st_mode):
                reason = reason or "It is a folder that cannot be read."
            elif not stat.S_ISREG(about.st_mode):
                reason = reason or "It is not a regular file."
            yield SourceFile(position, path, about.st_size, date_of(about.st_mtime), reason)

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

    def contents(
        self, wanted: Iterable[SourceFile], most: int
    ) -> Iterator[tuple[SourceFile, Fetch]]:
        """Yield each file with a function that copies it."""
        return one_by_one(wanted, most, self._spool)

    def _spool(self, file: SourceFile, most: int) -> Spooled:
        with self._open(file) as opened:
            return Spooled(pieces(opened), most)

    @contextmanager
    def _open(self, file: SourceFile) -> Iterator[IO[bytes]]:
        # It may have become a link or a pipe since it was listed.
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
        try:
            with os.fdopen(os.open(self._root / file.path, flags), "rb") as opened:
                if not stat.S_ISREG(os.fstat(opened.fileno()).st_mode):
                    raise FileRefusedError("It is not a regular file.")
                yield opened
        except OSError as exc:
            raise FileRefusedError(_failure(exc)) from exc


def _failure(error: OSError) -> str:
    return f"It cannot be read: {error.strerror}."


def date_of(timestamp: float) -> datetime | None:
    """Return a time stamp of Unix as a date, None if it is none."""
    with suppress(OverflowError, ValueError, OSError):
        return datetime.fromtimestamp(timestamp, UTC)
    return None
