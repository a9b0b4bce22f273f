"""Variants that are being made: each once at a time, a few at once, the rest in a bounded queue."""

import asyncio
from collections.abc import Callable

import anyio
import anyio.to_thread

from errors import OverloadedError
from services.variant_store import Variant

# As many as there are decoders. 40 thumbnails at once left the p99 of metadata at 0.9 to 1.3 times
# that under other load of the CPU; with four threads, which fetch more from S3, at 1.2 to 2.6.
_THREADS = 2
_MOST_UNDER_WAY = 64


class VariantQueue:
    """The variants that this process is making. Only the event loop uses it."""

    def __init__(self) -> None:
        self._threads = anyio.CapacityLimiter(_THREADS)
        self._under_way: dict[tuple[str, str], asyncio.Task[Variant]] = {}

    async def run(self, key: tuple[str, str], make: Callable[[], Variant]) -> Variant:
        """Call `make` in one of the queue's threads, or await the call for `key` that is under way.

        Raises what `make` raises, or OverloadedError if the queue is full.
        """
        task = self._under_way.get(key)
        if task is None:
            if len(self._under_way) >= _MOST_UNDER_WAY:
                raise OverloadedError("Too many variants at once; try again.")
            task = asyncio.create_task(self._run(key, make))
            # If every client has gone, nobody else retrieves the exception.
            task.add_done_callback(lambda done: done.cancelled() or done.exception())
            self._under_way[key] = task
        return await asyncio.shield(task)

    async def _run(self, key: tuple[str, str], make: Callable[[], Variant]) -> Variant:
        try:
            return await anyio.to_thread.run_sync(make, limiter=self._threads)
        finally:
            del self._under_way[key]
