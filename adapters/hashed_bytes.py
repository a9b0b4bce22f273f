"""Files in memory whose SHA-256 is computed once, however many steps of a write ask for it.

Hashing takes 0.5 ms for a megabyte, and an import needs the hash three times.
"""

import hashlib
import io
from typing import IO


class HashedBytes(io.BytesIO):
    """A file in memory that knows the SHA-256 of the bytes that it was made of."""

    def __init__(self, content: bytes) -> None:
        super().__init__(content)  # does not copy
        self._content = content
        self._sha256 = hashlib.sha256(content).hexdigest()

    def sha256(self) -> str:
        """Return the SHA-256 of the file as it is now, hexadecimal."""
        # CPython shares the immutable bytes with the file until something is written to it.
        if (now := self.getvalue()) is self._content:
            return self._sha256
        return hashlib.sha256(now).hexdigest()


def sha256_of(file: IO[bytes]) -> str:
    """Return the SHA-256 of a whole file, hexadecimal; the position in it changes."""
    if isinstance(file, HashedBytes):
        return file.sha256()
    file.seek(0)
    return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
