"""The file of an upload while it arrives: at most MAX_UPLOAD_BYTES, in memory or in a spool."""

import hashlib
from typing import IO, NamedTuple

from config import Settings
from errors import ImageTooLargeError
from services.image_store import HashedBytes

# The file is spooled in pieces of at least this size.
PIECE_BYTES = 512 * 1024
# Smaller chunks are joined, because every Python object takes 300 bytes more.
_PAGE_BYTES = 4096


class Upload(NamedTuple):
    """A received file, its name, and the extension and media type that the client states, if any.

    `extension` is that of the file name. The bytes must be of `media_type`.
    """

    file: IO[bytes]
    name: str
    extension: str | None = None
    media_type: str | None = None


class ReceivedFile:
    """Writes the bytes of a file to `spool` in pieces, or keeps them in memory without one.

    With `hashing` it computes their SHA-256.
    """

    def __init__(self, settings: Settings, spool: IO[bytes] | None, *, hashing: bool) -> None:
        self.content: IO[bytes] = HashedBytes()
        self._settings = settings
        self._spool = spool
        self._hashing = hashing
        self._hash = hashlib.sha256()
        self._chunks: list[memoryview | bytearray] = []
        self._size = self._buffered = 0

    def write(self, chunk: bytes | memoryview) -> None:
        """Take the next bytes. Raises ImageTooLargeError."""
        self._size += len(chunk)
        if self._size > self._settings.max_upload_bytes:
            raise ImageTooLargeError.of(self._settings.max_upload_bytes)
        last = self._chunks[-1] if self._chunks else None
        if len(chunk) >= _PAGE_BYTES:
            self._chunks.append(memoryview(chunk))
        elif isinstance(last, bytearray) and len(last) < _PAGE_BYTES:
            last += chunk
        else:
            self._chunks.append(bytearray(chunk))
        self._buffered += len(chunk)

    @property
    def must_flush(self) -> bool:
        """Whether a piece is ready for the spool."""
        return self._spool is not None and self._buffered > PIECE_BYTES

    @property
    def uses_disk(self) -> bool:
        """Whether the file is too large for the memory of its spool."""
        return self._spool is not None and self._size > PIECE_BYTES

    def flush(self) -> None:
        """Store the bytes that have arrived since the last call."""
        content = b"".join(self._chunks)
        if self._spool is None:
            self.content = HashedBytes(content)  # does not copy, unlike `write`
        else:
            self._spool.write(content)
            self.content = self._spool
        if self._hashing:
            self._hash.update(content)
        self._chunks.clear()
        self._buffered = 0

    def digest(self) -> bytes:
        """Return the SHA-256 of the bytes that are stored."""
        return self._hash.digest()

    def close(self) -> None:
        """Release the memory now, because the parser and its callbacks form a reference cycle.

        Without this, 600 MB waited for the garbage collector while 16 clients uploaded 5 MB each.
        """
        self._chunks.clear()
        self.content.close()
