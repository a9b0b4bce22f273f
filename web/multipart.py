"""The upload form: `multipart/form-data` with one `file` and perhaps a `name`.

FastAPI's own form parsing is not used here, because it accepts a body without its closing
boundary, reads a field that is not UTF-8 as Latin-1, and makes a thread hop for every 64 KB of a
large file. The parser underneath, python-multipart, is the same.
"""

import hashlib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from io import BytesIO
from tempfile import SpooledTemporaryFile
from typing import IO

import anyio
from fastapi import Request
from fastapi.concurrency import run_in_threadpool
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect

from config import Settings
from errors import (
    DigestMismatchError,
    ImageTooLargeError,
    InvalidMultipartError,
    UploadTooSlowError,
)
from services.names import split_extension
from web.digests import announced_digests

# Up to here a file stays in memory, as long as all files together take no more than that; others
# go to disk, in pieces.
_MEMORY_BYTES = 8 * 1024 * 1024
_ALL_MEMORY_BYTES = 96 * 1024 * 1024
_PIECE_BYTES = 512 * 1024
_MAX_NAME_FIELD_BYTES = 4096
_MAX_PARTS = 20
# Boundaries, headers and small fields around the file.
_MAX_OVERHEAD_BYTES = 256 * 1024


class UploadForm:
    """A received form: the `file`, its `filename`, and the `name` field, if any."""

    def __init__(self) -> None:
        self.file: IO[bytes] = BytesIO()
        self.filename: str | None = None
        self.name_field: str | None = None

    @property
    def name(self) -> str:
        """What the image is to be called: the field, or the file's name without extension."""
        return (
            split_extension(self.filename or "")[0] if self.name_field is None else self.name_field
        )

    @property
    def extension(self) -> str:
        """The extension of the file's name."""
        return split_extension(self.filename or "")[1]


@asynccontextmanager
async def receive_form(request: Request, settings: Settings) -> AsyncIterator[UploadForm]:
    """Receive the form of an upload; its file is closed in the end.

    Announced digests may be of the whole body, as RFC 9530 has it, or of the file alone, which a
    client can compute without rendering the form. Raises InvalidMultipartError, ImageTooLargeError,
    DigestMismatchError or UploadTooSlowError as early as they show.
    """
    digests = announced_digests(request.headers)
    boundary = _boundary(request)
    with _spool_for(_announced_length(request, settings)) as spool:
        form = UploadForm()
        parser = _FormParser(form, boundary, settings, spool, hashing=bool(digests))
        try:
            await _receive(request, parser, settings)
        except TimeoutError:
            raise UploadTooSlowError from None
        except FormParserError:
            raise InvalidMultipartError("The form is malformed.") from None
        except ClientDisconnect:
            raise InvalidMultipartError(
                "The connection was closed in the middle of the form."
            ) from None
        parser.require_complete()
        parser.require_digests(digests)
        yield form


async def _receive(request: Request, parser: "_FormParser", settings: Settings) -> None:
    latest = anyio.current_time() + settings.upload_timeout_seconds
    # One scope whose end moves: one for each chunk would cost as much as taking the chunk apart.
    with anyio.fail_after(
        min(settings.upload_timeout_seconds, settings.client_idle_seconds)
    ) as scope:
        async for chunk in request.stream():
            parser.write(chunk)
            if parser.must_flush:
                await _flush(parser)
            scope.deadline = min(latest, anyio.current_time() + settings.client_idle_seconds)
    await _flush(parser)


async def _flush(parser: "_FormParser") -> None:
    await run_in_threadpool(parser.flush) if parser.uses_disk else parser.flush()


def _boundary(request: Request) -> bytes:
    content_type, options = parse_options_header(request.headers.get("content-type"))
    if content_type != b"multipart/form-data":
        raise InvalidMultipartError("The body must be multipart/form-data.")
    boundary = options.get(b"boundary", b"")
    if not 0 < len(boundary) <= 200:
        raise InvalidMultipartError("The multipart boundary is missing or too long.")
    return boundary


def _announced_length(request: Request, settings: Settings) -> int:
    """Return Content-Length, 0 where there is none; refuse what is too large before it comes."""
    announced = request.headers.get("content-length", "0")
    if not announced.isdecimal():
        raise InvalidMultipartError("Content-Length is not a number.")
    if int(announced) > settings.max_upload_bytes + _MAX_OVERHEAD_BYTES:
        raise _too_large(settings)
    return int(announced)


_reserved_bytes = 0  # of memory, for all files of this process; only the event loop counts


@contextmanager
def _spool_for(length: int) -> Iterator[IO[bytes] | None]:
    """Open a file for a body of that length, or reserve memory for it and yield None."""
    global _reserved_bytes  # noqa: PLW0603
    if not 0 < length <= min(_MEMORY_BYTES, _ALL_MEMORY_BYTES - _reserved_bytes):
        with SpooledTemporaryFile(max_size=_PIECE_BYTES) as file:
            yield file
        return
    _reserved_bytes += length
    try:
        yield None
    finally:
        _reserved_bytes -= length


def _too_large(settings: Settings) -> ImageTooLargeError:
    return ImageTooLargeError(f"An image may have {settings.max_upload_bytes} bytes.")


class _FormParser:
    """Takes the form apart as its bytes arrive."""

    def __init__(
        self,
        form: UploadForm,
        boundary: bytes,
        settings: Settings,
        spool: IO[bytes] | None,
        *,
        hashing: bool,
    ) -> None:
        self.form = form
        self._hashing = hashing
        self._body_hash = hashlib.sha256()
        self._file_hash = hashlib.sha256()
        self._spool = spool
        self._buffered = 0
        self._settings = settings
        self._received = 0
        self._file_bytes = 0
        self._parts = 0
        self._complete = False
        self._header = (b"", b"")
        self._field = b""
        self._disposition = b""
        self._name: bytearray | None = None
        self._chunks: list[memoryview] = []
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin_part,
                "on_header_field": self._header_field,
                "on_header_value": self._header_value,
                "on_header_end": self._end_header,
                "on_headers_finished": self._end_headers,
                "on_part_data": self._part_bytes,
                "on_end": self._end,
            },
        )

    def write(self, chunk: bytes) -> None:
        """Take the next bytes of the body."""
        self._received += len(chunk)
        if self._received > self._settings.max_upload_bytes + _MAX_OVERHEAD_BYTES:
            raise _too_large(self._settings)
        if self._hashing:
            self._body_hash.update(chunk)
        self._parser.write(chunk)

    @property
    def must_flush(self) -> bool:
        """Whether a piece of the file is to be spooled."""
        return self._spool is not None and self._buffered > _PIECE_BYTES

    @property
    def uses_disk(self) -> bool:
        """Whether the file is, or will be, too large for its spool's memory."""
        return self._spool is not None and self._file_bytes > _PIECE_BYTES

    def flush(self) -> None:
        """Put the bytes of the file that came since last time where they are kept."""
        content = b"".join(self._chunks)
        if self._spool is None:
            self.form.file = BytesIO(content)  # shares it, where `write` would copy it
        else:
            self._spool.write(content)
            self.form.file = self._spool
        if self._hashing:
            self._file_hash.update(content)
        self._chunks.clear()
        self._buffered = 0

    def require_complete(self) -> None:
        """Raise InvalidMultipartError unless the closing boundary and a file have come."""
        if not self._complete:
            raise InvalidMultipartError("The form ends before its closing boundary.")
        if self.form.filename is None:
            raise InvalidMultipartError("The form has no file in its field 'file'.")
        if self._name is not None:
            self.form.name_field = _utf8(bytes(self._name), "field 'name'")

    def require_digests(self, digests: list[bytes]) -> None:
        """Raise DigestMismatchError unless each digest is that of the body or of the file."""
        if not set(digests) <= {self._body_hash.digest(), self._file_hash.digest()}:
            raise DigestMismatchError("What arrived does not have the announced SHA-256.")

    def _begin_part(self) -> None:
        self._parts += 1
        if self._parts > _MAX_PARTS:
            raise InvalidMultipartError(f"The form has more than {_MAX_PARTS} fields.")
        self._disposition = b""

    def _header_field(self, block: bytes, start: int, end: int) -> None:
        self._header = (self._header[0] + block[start:end], self._header[1])

    def _header_value(self, block: bytes, start: int, end: int) -> None:
        self._header = (self._header[0], self._header[1] + block[start:end])

    def _end_header(self) -> None:
        field, value = self._header
        if field.lower() == b"content-disposition":
            self._disposition = value
        self._header = (b"", b"")

    def _end_headers(self) -> None:
        _, options = parse_options_header(self._disposition)
        self._field = options.get(b"name", b"")
        filename = options.get(b"filename")
        if self._field == b"file":
            if filename is None:
                raise InvalidMultipartError("The field 'file' must be a file with a file name.")
            if self.form.filename is not None:
                raise InvalidMultipartError("The form has more than one file.")
            self.form.filename = _utf8(filename, "file name")
        elif self._field == b"name" and filename is None:
            if self._name is not None:
                raise InvalidMultipartError("The form has more than one name.")
            self._name = bytearray()
        elif filename is not None:
            raise InvalidMultipartError("The form has a file outside its field 'file'.")

    def _part_bytes(self, block: bytes, start: int, end: int) -> None:
        if self._field == b"file":
            self._file_bytes += end - start
            if self._file_bytes > self._settings.max_upload_bytes:
                raise _too_large(self._settings)
            self._chunks.append(memoryview(block)[start:end])
            self._buffered += end - start
        elif self._field == b"name" and self._name is not None:
            self._name += block[start:end]
            if len(self._name) > _MAX_NAME_FIELD_BYTES:
                raise InvalidMultipartError("The field 'name' is too long.")

    def _end(self) -> None:
        self._complete = True


def _utf8(raw: bytes, what: str) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise InvalidMultipartError(f"The {what} is not valid UTF-8.") from None
