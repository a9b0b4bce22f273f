"""Variants under way: each is made once at a time, a few at once, and a bounded number waits."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import anyio
import anyio.to_thread
from fastapi import Request
from fastapi.responses import Response
from starlette.datastructures import MutableHeaders

from errors import OverloadedError, ServiceError
from services.variant_store import Variant, VariantMissingError
from web.bulkhead import S3Route
from web.variant_choice import depends_on_accept

# As many as there are decoders. 40 thumbnails at once left the p99 of metadata at 0.9 to 1.3 times
# that under other load of the CPU; with four threads, which fetch more from S3, at 1.2 to 2.6.
_THREADS = 2
_MOST_UNDER_WAY = 64
_ROUNDS = 3


class Renderings:
    """What is being made by this process. Only the event loop looks at it."""

    def __init__(self) -> None:
        self._threads = anyio.CapacityLimiter(_THREADS)
        self._under_way: dict[tuple[str, str], asyncio.Task[Variant | None]] = {}

    async def run(self, key: tuple[str, str], make: Callable[[], Variant | None]) -> Variant | None:
        """Call `make` in a thread of our own, or wait for whoever does so for `key` already.

        Raises what `make` raises, and OverloadedError.
        """
        task = self._under_way.get(key)
        if task is None:
            if len(self._under_way) >= _MOST_UNDER_WAY:
                raise OverloadedError("Too many variants at once; try again.")
            task = asyncio.create_task(self._run(key, make))
            # Whoever asked may be gone by then.
            task.add_done_callback(lambda done: done.cancelled() or done.exception())
            self._under_way[key] = task
        return await asyncio.shield(task)

    async def _run(
        self, key: tuple[str, str], make: Callable[[], Variant | None]
    ) -> Variant | None:
        try:
            return await anyio.to_thread.run_sync(make, limiter=self._threads)
        finally:
            del self._under_way[key]


class VariantRoute(S3Route):
    """A route whose handler finds a variant; where there is none yet, it is made meanwhile.

    No place for requests that need S3 is held for so long. What was made reaches the handler as
    `request.state.made`: it was current while the request waited, whatever came since.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the handler, called again when the variant that it misses has been made."""
        handle = super().get_route_handler()

        async def make_and_handle(request: Request) -> Response:
            renderings: Renderings = request.state.renderings
            request.state.made = None
            for _ in range(_ROUNDS):
                try:
                    return await handle(request)
                except VariantMissingError as missing:
                    request.state.made = await renderings.run(missing.key, missing.make)
            raise OverloadedError

        async def negotiate(request: Request) -> Response:
            if not depends_on_accept(request.path_params["variant"]):
                return await make_and_handle(request)
            try:
                response = await make_and_handle(request)
            except ServiceError as exc:
                exc.headers["Vary"] = "Accept"
                raise
            MutableHeaders(raw=response.raw_headers).add_vary_header("Accept")
            return response

        return negotiate
