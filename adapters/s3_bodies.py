"""The bytes of an object on their way to S3 and from S3."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError
from obstore.exceptions import BaseError

from errors import StorageUnavailableError
from telemetry.request_waits import add_s3_wait

if TYPE_CHECKING:
    from obstore import GetResult

_PIECE_BYTES = 256 * 1024


class DeadlineReader:
    """A file that cannot be read after `deadline`, a time of `time.monotonic`."""

    def __init__(self, file: IO[bytes], deadline: float) -> None:
        self._file = file
        self._deadline = deadline
        self.seek, self.tell = file.seek, file.tell

    def read(self, size: int = -1) -> bytes:
        """Return the next `size` bytes. Raises StorageUnavailableError after the deadline."""
        if time.monotonic() > self._deadline:
            raise StorageUnavailableError("The time limit for sending this object has passed.")
        return self._file.read(size)


class BotoResult:
    """A response of boto3's GetObject with the part of obstore's interface that ObjectBody uses."""

    def __init__(self, response: dict[str, Any]) -> None:
        self.range = (0, int(response["ContentLength"]))
        self._body = response["Body"]

    def stream(self, min_chunk_size: int) -> Iterator[bytes]:
        """Yield the body in pieces."""
        pieces: Iterator[bytes] = self._body.iter_chunks(min_chunk_size)
        return pieces


class ObjectBody:
    """The body of a GET response, of `length` bytes. Reading one that is cut short raises."""

    def __init__(self, result: "GetResult | BotoResult") -> None:
        first, stop = result.range
        self.length = stop - first
        self._pieces: Iterator[bytes] = iter(result.stream(min_chunk_size=_PIECE_BYTES))

    def read(self, size: int) -> bytes:
        """Return at least `size` of the next bytes, fewer at the end, then `b""`.

        Raises StorageUnavailableError.
        """
        pieces: list[bytes] = []
        with _waiting():
            while size > 0 and (piece := next(self._pieces, None)):
                pieces.append(piece)
                size -= len(piece)
        return b"".join(pieces)

    def read_all(self, size: int | None = None) -> bytes:
        """Return the whole body. Raises StorageUnavailableError unless it has `size` bytes."""
        with _waiting():
            content = b"".join(self._pieces)
        self.close()
        if size is not None and len(content) != size:
            raise StorageUnavailableError(f"The object has {len(content)} bytes instead of {size}.")
        return content

    def close(self) -> None:
        """Drop the rest of the body. A connection is reused only if there is none."""
        self._pieces = iter(())


@contextmanager
def _waiting() -> Iterator[None]:
    """Count the block's time as waiting for S3, and translate the errors of obstore and boto3."""
    begun = time.perf_counter()
    try:
        yield
    except (BaseError, BotoCoreError) as exc:
        raise StorageUnavailableError from exc
    finally:
        add_s3_wait(time.perf_counter() - begun)
