"""A bulkhead keeps requests that need S3 from taking the threads of requests that do not.

web/middleware/load_shedding.py limits how many requests wait.
"""

from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Self, TypeVar, TypeVarTuple

import anyio
import anyio.to_thread
from fastapi import Request
from fastapi.responses import Response
from fastapi.routing import APIRoute

from errors import OverloadedError

_Result = TypeVar("_Result")
_Arguments = TypeVarTuple("_Arguments")


class Bulkhead:
    """Places for requests that need S3, fewer than `Settings.threads`.

    Work after a response starts (the rest of a large download, the deletion of an old object) runs
    in as many separate threads.
    """

    def __init__(self, places: int, *, wait_seconds: float = 10.0) -> None:
        """Offer `places`; a request waits for one for at most `wait_seconds`."""
        self.streams = 0  # downloads in progress, which share the memory of chunks
        self._wait_seconds = wait_seconds
        self._places = anyio.Semaphore(places, fast_acquire=True)
        self._threads = anyio.CapacityLimiter(places)

    @classmethod
    def for_uploads(cls, concurrency: int) -> Self:
        """Offer half of the `CONCURRENCY` places to uploads, which take one of these first.

        Uploads that wait for a decoder leave the other half to downloads. They wait longer, because
        the client would have to send the file again. Both waits together stay below the 60 seconds
        after which AWS load balancers answer 504.
        """
        return cls(max(1, concurrency // 2), wait_seconds=45.0)

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Hold a place during the block. Raises OverloadedError if none becomes free in time."""
        try:
            with anyio.fail_after(self._wait_seconds):
                await self._places.acquire()
        except TimeoutError:
            raise OverloadedError from None
        try:
            yield
        finally:
            self._places.release()

    async def run(self, call: Callable[[*_Arguments], _Result], *arguments: *_Arguments) -> _Result:
        """Call a function that uses S3 in a thread of this bulkhead."""
        return await anyio.to_thread.run_sync(call, *arguments, limiter=self._threads)


class S3Route(APIRoute):
    """A route whose handler runs in a place of the bulkhead.

    A dependency that yields would take 30 us, a tenth of a 304.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return FastAPI's handler, wrapped in a place."""
        handle = super().get_route_handler()

        async def handle_in_place(request: Request) -> Response:
            bulkhead: Bulkhead = request.state.bulkhead
            async with bulkhead.place():
                return await handle(request)

        return handle_in_place
