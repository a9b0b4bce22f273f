"""The bytes of an object on their way to a client."""

import logging
from typing import Protocol

import anyio
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response
from starlette.types import Receive, Scope, Send

from errors import StorageUnavailable

logger = logging.getLogger("image_api")

# A chunk costs a thread hop: 64 KB cost six times the CPU at 20 MB. A chunk that a slow reader does
# not take is memory: with 1 MB, 200 of them cost twice as much.
CHUNK_BYTES = 256 * 1024


class Source(Protocol):
    """Where the bytes come from: `image_store.ImageStore.open_object` opens it."""

    def read(self, size: int) -> bytes:
        """Return the next bytes, at most `size`. Raises StorageUnavailable."""

    def close(self) -> None:
        """Let go of the connection."""


class ObjectResponse(Response):
    """Streams an object of a known length.

    Between chunks it holds no thread and no database connection. It ends early, and so aborts
    the connection, when S3 cuts the object short, when the client goes away, or when the client
    takes nothing for `idle_timeout` seconds: a wrong body never ends as a clean one.
    """

    def __init__(
        self,
        body: Source,
        length: int,
        status: int,
        headers: dict[str, str],
        idle_timeout: float,
    ) -> None:
        super().__init__(None, status, headers | {"Content-Length": str(length)})
        self._object = body
        self._left = length
        self._idle_timeout = idle_timeout

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Send the response."""
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(self._cancel_on_disconnect, receive, group.cancel_scope)
                await self._stream(send)
                group.cancel_scope.cancel()
        finally:
            self._object.close()

    async def _stream(self, send: Send) -> None:
        await send(
            {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
        )
        try:
            while self._left > 0:
                chunk = await run_in_threadpool(self._object.read, CHUNK_BYTES)
                if not chunk or len(chunk) > self._left:
                    raise StorageUnavailable("The object's length is not what its row says.")
                self._left -= len(chunk)
                with anyio.fail_after(self._idle_timeout):
                    await send(
                        {"type": "http.response.body", "body": chunk, "more_body": self._left > 0}
                    )
        except (StorageUnavailable, TimeoutError):
            # The server closes a connection whose response was not completed.
            logger.warning("Download aborted with %d bytes to go", self._left, exc_info=True)

    @staticmethod
    async def _cancel_on_disconnect(receive: Receive, scope: anyio.CancelScope) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        scope.cancel()
