"""The files in .zip, .tar and .tar.gz archives. Nothing is unpacked to disk under its own path."""

import gzip
import lzma
import stat
import struct
import tarfile
import threading
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from tarfile import EOFHeaderError, HeaderError, ReadError  # type: ignore[attr-defined]
from typing import IO, Any, Self, cast

from services.transfer.failures import FileRefusedError, TransferError
from services.transfer.sources import (
    Fetch,
    Source,
    SourceFile,
    date_of,
    decoded,
    pieces,
    spool,
)

# `tarfile` reads long names and extended headers into memory.
_MAX_HEADER_BYTES = 1024 * 1024
_ENCRYPTED, _UTF8 = 0x1, 0x800  # flags of a zip member (APPNOTE 4.4.4)
_UNICODE_PATH, _FIELD = 0x7075, struct.Struct("<HH")  # of its extra fields: kind and size
# `tarfile` reads a chain of extended headers recursively.
_DAMAGE = (
    *(tarfile.TarError, EOFError, OSError, zlib.error, ValueError, OverflowError),
    RecursionError,
)


class Zip(Source):
    """A zip file. Several threads read its members at once."""

    def __init__(self, path: Path) -> None:
        """Read the directory of the file. Raises TransferError."""
        try:
            self._zip = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as exc:
            raise TransferError(f"{path} is not a whole, valid zip file: {exc}.") from exc
        self._members = self._zip.infolist()
        self._lock = threading.Lock()

    def close(self) -> None:
        """Close the file."""
        self._zip.close()

    def files(self) -> Iterator[SourceFile]:
        """Yield every member that is not a folder."""
        for position, member in enumerate(self._members):
            if member.is_dir():
                continue
            path, reason = _zip_path(member)
            if stat.S_ISLNK(member.external_attr >> 16):
                reason = reason or "It is a symbolic link."
            if member.flag_bits & _ENCRYPTED:
                reason = reason or "It is encrypted."
            reason = reason or _outside(path)
            yield SourceFile(position, path, member.file_size, _zip_date(member), reason)

    def copy(self, file: SourceFile, max_bytes: int) -> IO[bytes]:
        """Copy a member. Raises FileRefusedError if it cannot be unpacked."""
        try:
            with self._lock:  # `zipfile` counts its open members without a lock
                member = self._zip.open(self._members[file.position])
            try:
                return spool(pieces(member), max_bytes)
            finally:
                with self._lock:
                    member.close()
        except (zipfile.BadZipFile, *_DAMAGE, lzma.LZMAError, RuntimeError) as exc:
            raise FileRefusedError(f"It cannot be unpacked: {exc}.") from exc


def _zip_path(member: zipfile.ZipInfo) -> tuple[str, str]:
    """Return the path of a member, and why it cannot be used.

    Without the UTF-8 flag the encoding is unknown. Many programs write UTF-8 nevertheless, or add
    the path in UTF-8 as an extra field.
    """
    if member.flag_bits & _UTF8:
        return decoded(member.filename)
    path = member.orig_filename.encode("cp437")
    try:
        return (_unicode_path(member.extra, path) or path.partition(b"\0")[0]).decode(), ""
    except UnicodeError:
        return member.filename, "The path is not valid UTF-8."


def _unicode_path(extra: bytes, path: bytes) -> bytes | None:
    """Return `path` in UTF-8 if an extra field of its member contains it (APPNOTE 4.6.9)."""
    while len(extra) >= _FIELD.size:
        kind, size = _FIELD.unpack_from(extra)
        field, extra = extra[_FIELD.size :][:size], extra[_FIELD.size + size :]
        if kind == _UNICODE_PATH and field[:5] == struct.pack("<BL", 1, zlib.crc32(path)):
            return field[5:]
    return None


def _zip_date(member: zipfile.ZipInfo) -> datetime | None:
    """Return the date of a member. Zip files store local time without its zone."""
    try:
        return datetime(*member.date_time).astimezone(UTC)
    except (ValueError, OverflowError, OSError):
        return None


class _Member(tarfile.TarInfo):
    """A member of a tar file, read with bounded memory and without tolerance for damage."""

    @classmethod
    def fromtarfile(cls, tarfile: tarfile.TarFile) -> Self:
        """Read the next header. `tarfile` treats a damaged one as the end of the file."""
        try:
            member = super().fromtarfile(tarfile)
        except HeaderError as exc:
            if isinstance(exc, EOFHeaderError):  # the block of zeros that ends a file
                raise
            raise ReadError(f"a header is damaged or missing ({exc})") from exc
        if member.size < 0:  # `tarfile` would read the same header again
            raise ReadError("a size is negative")
        return member

    def _proc_member(self, tar: tarfile.TarFile) -> Any:  # a documented hook
        if self.type in _LONG_HEADERS and not 0 <= self.size <= _MAX_HEADER_BYTES:
            raise ReadError("a header is too long")
        return super()._proc_member(tar)  # type: ignore[misc]


_LONG_HEADERS = {
    *(tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE),
    *(tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK),
}


class Tar(Source):
    """A tar file, optionally compressed by gzip. Each pass reads it from front to back."""

    def __init__(self, path: Path, *, gzipped: bool) -> None:
        self._path, self._gzipped = path, gzipped

    def files(self) -> Iterator[SourceFile]:
        """Yield every member that is not a folder. Raises TransferError if the file is damaged."""
        with self._opened() as (tar, stream):
            for position, member in enumerate(_members(tar)):
                if not member.isdir():
                    yield _tar_file(member, position)
            for _ in pieces(stream):  # gzip verifies its checksum at the end
                pass

    def contents(
        self, files: Iterable[SourceFile], max_bytes: int
    ) -> Iterator[tuple[SourceFile, Fetch]]:
        """Copy each of the members while reading the file once. Raises TransferError."""
        by_position = {file.position: file for file in files}
        with self._opened() as (tar, _):
            for position, member in enumerate(_members(tar)):
                file = by_position.get(position)
                if file is None:
                    continue
                if decoded(member.name)[0].removeprefix("./") != file.path:
                    raise ReadError("it has changed meanwhile")
                copy = spool(pieces(cast("IO[bytes]", tar.extractfile(member))), max_bytes)
                yield file, lambda copy=copy: copy  # type: ignore[misc]

    @contextmanager
    def _opened(self) -> Iterator[tuple[tarfile.TarFile, IO[bytes]]]:
        try:
            with self._path.open("rb") as packed, ExitStack() as stack:
                stream: IO[bytes] = packed
                if self._gzipped:
                    stream = cast("IO[bytes]", stack.enter_context(gzip.open(packed)))
                with tarfile.open(fileobj=stream, mode="r:", tarinfo=_Member) as tar:
                    yield tar, stream
        except _DAMAGE as exc:
            raise TransferError(f"{self._path} is not a whole, valid tar file: {exc}.") from exc


def _members(tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    while member := tar.next():
        yield member
        tar.members.clear()  # type: ignore[attr-defined] # `tarfile` would keep all members


def _tar_file(member: tarfile.TarInfo, position: int) -> SourceFile:
    path, reason = decoded(member.name)
    path = path.removeprefix("./")
    if member.issym() or member.islnk():
        reason = reason or "It is a link."
    elif not member.isreg():
        reason = reason or "It is not a regular file."
    return SourceFile(position, path, member.size, date_of(member.mtime), reason or _outside(path))


def _outside(path: str) -> str:
    """Return why a path cannot be a file within the archive; "" if it can."""
    is_outside = path.startswith("/") or ".." in path.split("/")
    return "Its path leads out of the archive." if is_outside else ""
