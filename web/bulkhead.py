"""A bulkhead: requests that need S3 cannot take all threads from those that do not."""

from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, ParamSpec, Self, TypeVar

import anyio
import anyio.to_thread
from fastapi import Request
from fastapi.responses import Response
from fastapi.routing import APIRoute

from errors import OverloadedError

_Result = TypeVar("_Result")
_Arguments = ParamSpec("_Arguments")


class Bulkhead:
    """Places for requests that need S3. While S3 hangs, the others go on.

    For these there are more threads than places: `Settings.threads`.
    Whatever follows an answer (the rest of a large download, the deletion of an old object) runs in
    threads of its own, as many as there are places.
    """

    def __init__(self, places: int, *, patience: float = 10.0) -> None:
        """Offer so many places; a request waits for one for at most `patience` seconds."""
        self._patience = patience
        self._places = anyio.Semaphore(places, fast_acquire=True)
        self._threads = anyio.CapacityLimiter(places)

    @classmethod
    def for_uploads(cls, concurrency: int) -> Self:
        """Offer half of the `CONCURRENCY` places to uploads, which take one of these first.

        Costly pictures wait for a decoder: the other half is left to downloads. Whoever has sent a
        large file would rather wait than send it again.
        """
        return cls(max(1, concurrency // 2), patience=60.0)

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Hold a place while the handler works. Raises OverloadedError when none becomes free."""
        try:
            self._places.acquire_nowait()
        except anyio.WouldBlock:
            await self._wait()
        try:
            yield
        finally:
            self._places.release()

    async def _wait(self) -> None:
        try:
            with anyio.fail_after(self._patience):
                await self._places.acquire()
        except TimeoutError:
            raise OverloadedError from None

    async def run(
        self,
        call: Callable[_Arguments, _Result],
        *args: _Arguments.args,
        **kwargs: _Arguments.kwargs,
    ) -> _Result:
        """Call a function that asks S3, in a thread of this bulkhead."""
        call = partial(call, *args, **kwargs)
        return await anyio.to_thread.run_sync(call, limiter=self._threads)


class S3Route(APIRoute):
    """A route that holds one of the places for requests that need S3 while its handler works.

    Not a dependency: one that yields takes FastAPI 30 us, a tenth of a 304.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return FastAPI's handler, called while a place is held."""
        handle = super().get_route_handler()

        async def handle_in_place(request: Request) -> Response:
            bulkhead: Bulkhead = request.state.bulkhead
            async with bulkhead.place():
                return await handle(request)

        return handle_in_place
