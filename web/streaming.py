"""Streaming of objects to clients."""

from typing import Protocol

import anyio
from fastapi.responses import Response
from starlette.types import Receive, Scope, Send

from errors import StorageUnavailableError
from telemetry import logger
from telemetry.request_waits import note_code
from web.bulkhead import Bulkhead
from web.exhaustion import exhaustion

# Each chunk costs two thread hops, and occupies memory until the client takes it. Downloads start
# with small chunks. Clients that take them promptly get larger ones, if there are few downloads.
_LARGEST_CHUNK_BYTES = 2 * 1024 * 1024
_SMALLEST_CHUNK_BYTES = 256 * 1024
_ALL_CHUNKS_BYTES = 32 * 1024 * 1024
_PROMPT_SECONDS = 0.1


class ByteSource(Protocol):
    """An open object."""

    def read(self, size: int, /) -> bytes:
        """Return up to `size` bytes. Raises StorageUnavailableError."""

    def read_all(self, size: int) -> bytes:
        """Return all `size` bytes, and close. Raises StorageUnavailableError."""

    def close(self) -> None:
        """Release the connection."""


class ObjectResponse(Response):
    """Streams an object of a known length.

    Between chunks it occupies no thread and no database connection. If S3 truncates the object or
    the client disconnects, the response stays incomplete, and the server aborts the connection.
    """

    def __init__(
        self,
        body: ByteSource,
        length: int,
        status: int,
        headers: dict[str, str],
        bulkhead: Bulkhead,
    ) -> None:
        super().__init__(None, status, headers | {"Content-Length": str(length)})
        self._object = body
        self._remaining = length
        self._sent = 0
        self._chunk_bytes = _SMALLEST_CHUNK_BYTES
        self._bulkhead = bulkhead

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Send the response."""
        self._bulkhead.streams += 1
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(self._cancel_on_disconnect, receive, group.cancel_scope)
                await self._stream(send)
                group.cancel_scope.cancel()
        finally:
            self._bulkhead.streams -= 1
            self._object.close()

    async def _stream(self, send: Send) -> None:
        await send(
            {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
        )
        try:
            while self._remaining > 0:
                chunk = await self._bulkhead.run(self._object.read, self._chunk_bytes)
                if not chunk or len(chunk) > self._remaining:
                    raise StorageUnavailableError("The object does not have the length in its row.")
                self._remaining -= len(chunk)
                began = anyio.current_time()
                await send(
                    {"type": "http.response.body", "body": chunk, "more_body": self._remaining > 0}
                )
                self._choose_chunk(anyio.current_time() - began)
        except (StorageUnavailableError, MemoryError, OSError, RuntimeError) as exc:
            error = exc if isinstance(exc, StorageUnavailableError) else exhaustion(exc)
            if error is None:
                raise
            note_code(error.code)
            # The server closes a connection whose response is incomplete.
            logger.warning("Download aborted with %d bytes to go", self._remaining, exc_info=True)

    def _choose_chunk(self, seconds: float) -> None:
        """Choose the size of the next chunk by the time that the client took for the last one.

        The first chunk does not count, because it only fills the connection's buffer.
        """
        self._sent += 1
        share = min(_LARGEST_CHUNK_BYTES, _ALL_CHUNKS_BYTES // self._bulkhead.streams)
        larger = min(2 * self._chunk_bytes, share)
        prompt = self._sent > 1 and seconds < _PROMPT_SECONDS
        self._chunk_bytes = max(_SMALLEST_CHUNK_BYTES, larger if prompt else 0)

    @staticmethod
    async def _cancel_on_disconnect(receive: Receive, scope: anyio.CancelScope) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        scope.cancel()
