"""Incremental parsing of an upload form whose file has at most MAX_UPLOAD_BYTES.

web/uploads/spool_space.py decides where the file is kept.
"""

from python_multipart.multipart import MultipartParser, MultipartState

from config import Settings
from errors import ImageTooLargeError, InvalidMultipartError
from services.names import split_extension
from web.content_disposition import part_parameters
from web.uploads.received_file import ReceivedFile, Upload

# Boundaries, headers and small fields around the file
MAX_OVERHEAD_BYTES = 256 * 1024
_MAX_NAME_FIELD_BYTES = 4096
_MAX_PARTS = 20


class FormParser:
    """Parses a form as its bytes arrive, and writes the file that it contains to `file`."""

    def __init__(self, boundary: bytes, file: ReceivedFile, settings: Settings) -> None:
        self._file = file
        self._settings = settings
        self._received = 0
        self._parts = 0
        self._header = (b"", b"")
        self._field = b""
        self._disposition = b""
        self._filename: str | None = None
        self._name: bytearray | None = None
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
            raise ImageTooLargeError.of(self._settings.max_upload_bytes)
        self._parser.write(chunk)

    def upload(self) -> Upload:
        """Return the file and its name.

        Raises InvalidMultipartError unless the closing boundary and a file have arrived.
        """
        if self._parser.state is not MultipartState.END:
            raise InvalidMultipartError("The form ends before its closing boundary.")
        if self._filename is None:
            raise InvalidMultipartError("The form has no file in its field 'file'.")
        stem, extension = split_extension(self._filename)
        name = stem if self._name is None else _utf8(bytes(self._name), "field 'name'")
        return Upload(self._file.content, name, extension)

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
            if self._filename is not None:
                raise InvalidMultipartError("The form has more than one file.")
            self._filename = _utf8(filename, "file name")
        elif self._field == b"name" and filename is None:
            if self._name is not None:
                raise InvalidMultipartError("The form has more than one name.")
            self._name = bytearray()
        elif filename is not None:
            raise InvalidMultipartError("The form has a file outside its field 'file'.")

    def _part_bytes(self, block: bytes, start: int, end: int) -> None:
        if self._field == b"file":
            self._file.write(memoryview(block)[start:end])
        elif self._field == b"name" and self._name is not None:
            self._name += block[start:end]
            if len(self._name) > _MAX_NAME_FIELD_BYTES:
                raise InvalidMultipartError("The field 'name' is too long.")


def _utf8(raw: bytes, what: str) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise InvalidMultipartError(f"The {what} is not valid UTF-8.") from None
