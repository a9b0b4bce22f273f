"""Incremental parsing of an upload form with at most MAX_UPLOAD_BYTES in its file.

web/spool_space.py decides where the file is kept meanwhile.
"""

import hashlib
from io import BytesIO
from typing import IO

from python_multipart.multipart import MultipartParser, MultipartState

from config import Settings
from errors import DigestMismatchError, ImageTooLargeError, InvalidMultipartError
from services.names import split_extension
from web.content_disposition import part_parameters

# The file is spooled in pieces of at least this size.
PIECE_BYTES = 512 * 1024
# Boundaries, headers and small fields around the file.
MAX_OVERHEAD_BYTES = 256 * 1024
_MAX_NAME_FIELD_BYTES = 4096
_MAX_PARTS = 20
# Smaller pieces are joined, because each object takes 300 bytes of its own.
_PAGE_BYTES = 4096


class UploadForm:
    """A received form: the `file`, its `filename`, and the `name` field, if any."""

    def __init__(self) -> None:
        self.file: IO[bytes] = BytesIO()
        self.filename: str | None = None
        self.name_field: str | None = None

    @property
    def name(self) -> str:
        """The name of the image: the field, or the file name without its extension."""
        return (
            split_extension(self.filename or "")[0] if self.name_field is None else self.name_field
        )

    @property
    def extension(self) -> str:
        """The extension of the file name."""
        return split_extension(self.filename or "")[1]


def too_large(settings: Settings) -> ImageTooLargeError:
    """Return the error for a body that is larger than the settings allow."""
    return ImageTooLargeError(f"An image may have at most {settings.max_upload_bytes} bytes.")


class FormParser:
    """Parses a form as its bytes arrive."""

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
        self._header = (b"", b"")
        self._field = b""
        self._disposition = b""
        self._name: bytearray | None = None
        self._chunks: list[memoryview | bytearray] = []
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin_part,
                "on_header_field": self._header_field,
                "on_header_value": self._header_value,
                "on_header_end": self._end_header,
                "on_headers_finished": self._end_headers,
                "on_part_data": self._part_bytes,
            },
        )

    def write(self, chunk: bytes) -> None:
        """Parse the next bytes of the body."""
        self._received += len(chunk)
        if self._received > self._settings.max_upload_bytes + MAX_OVERHEAD_BYTES:
            raise too_large(self._settings)
        if self._hashing:
            self._body_hash.update(chunk)
        self._parser.write(chunk)

    @property
    def must_flush(self) -> bool:
        """Whether a piece of the file is ready for the spool."""
        return self._spool is not None and self._buffered > PIECE_BYTES

    @property
    def uses_disk(self) -> bool:
        """Whether the file is too large for the memory of its spool."""
        return self._spool is not None and self._file_bytes > PIECE_BYTES

    def flush(self) -> None:
        """Store the bytes of the file that arrived since the last call."""
        content = b"".join(self._chunks)
        if self._spool is None:
            self.form.file = BytesIO(content)  # does not copy, unlike `write`
        else:
            self._spool.write(content)
            self.form.file = self._spool
        if self._hashing:
            self._file_hash.update(content)
        self._chunks.clear()
        self._buffered = 0

    def close(self) -> None:
        """Release the memory at once, because the parser and its callbacks form a reference cycle.

        Without this, 600 MB waited for the garbage collector during uploads of 5 MB by 16 clients.
        """
        self._chunks.clear()
        self.form.file.close()

    def require_complete(self) -> None:
        """Raise InvalidMultipartError unless the closing boundary and a file have arrived."""
        if self._parser.state is not MultipartState.END:
            raise InvalidMultipartError("The form ends before its closing boundary.")
        if self.form.filename is None:
            raise InvalidMultipartError("The form has no file in its field 'file'.")
        if self._name is not None:
            self.form.name_field = _utf8(bytes(self._name), "field 'name'")

    def require_digests(self, digests: list[bytes]) -> None:
        """Raise DigestMismatchError unless each digest is that of the body or of the file."""
        if not set(digests) <= {self._body_hash.digest(), self._file_hash.digest()}:
            raise DigestMismatchError("The upload does not have the announced SHA-256.")

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
        parameters = part_parameters(self._disposition)
        self._field = parameters.get(b"name", b"")
        filename = parameters.get(b"filename")
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
                raise too_large(self._settings)
            self._keep(memoryview(block)[start:end])
        elif self._field == b"name" and self._name is not None:
            self._name += block[start:end]
            if len(self._name) > _MAX_NAME_FIELD_BYTES:
                raise InvalidMultipartError("The field 'name' is too long.")

    def _keep(self, piece: memoryview) -> None:
        last = self._chunks[-1] if self._chunks else None
        if len(piece) >= _PAGE_BYTES:
            self._chunks.append(piece)
        elif isinstance(last, bytearray) and len(last) < _PAGE_BYTES:
            last += piece
        else:
            self._chunks.append(bytearray(piece))
        self._buffered += len(piece)


def _utf8(raw: bytes, what: str) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise InvalidMultipartError(f"The {what} is not valid UTF-8.") from None
