"""Places are limited, given back, and waited for only for a limited time."""

import threading

import anyio
import pytest

from errors import OverloadedError
from web.bulkhead import Bulkhead


def test_full() -> None:
    """A request that finds no place in time is refused; the next one gets the free place."""

    async def run() -> None:
        bulkhead = Bulkhead(1, wait_seconds=0.01)
        async with bulkhead.place():
            with pytest.raises(OverloadedError):
                async with bulkhead.place():
                    pass
        async with bulkhead.place():
            pass

    anyio.run(run)


def test_given_back() -> None:
    """A request that fails, or is cancelled, gives its place back."""

    async def run() -> None:
        bulkhead = Bulkhead(1, wait_seconds=0.01)
        with pytest.raises(RuntimeError, match="a bug"):
            async with bulkhead.place():
                raise RuntimeError("a bug")
        with anyio.CancelScope() as scope:
            async with bulkhead.place():
                scope.cancel()
                await anyio.sleep_forever()
        async with bulkhead.place():
            pass

    anyio.run(run)


@pytest.mark.parametrize(("concurrency", "places"), [(1, 1), (2, 1), (9, 4)])
def test_uploads(concurrency: int, places: int) -> None:
    """Uploads get half of the places, and at least one."""

    async def run() -> None:
        bulkhead = Bulkhead.for_uploads(concurrency)
        async with anyio.create_task_group() as group:
            for _ in range(places):
                group.start_soon(hold, bulkhead)
            await anyio.wait_all_tasks_blocked()
            with anyio.move_on_after(0) as waiting:
                async with bulkhead.place():
                    pytest.fail("there is one place more")
            assert waiting.cancelled_caught
            group.cancel_scope.cancel()

    anyio.run(run)


async def hold(bulkhead: Bulkhead) -> None:
    """Hold a place until cancelled."""
    async with bulkhead.place():
        await anyio.sleep_forever()


def test_overloaded_before_a_load_balancer_gives_up() -> None:
    """An upload waits for its two places for less than the 60 s of AWS load balancers."""
    assert Bulkhead.for_uploads(16)._wait_seconds + Bulkhead(16)._wait_seconds <= 55


def test_threads() -> None:
    """Calls run in threads, as many at once as there are places."""
    both = threading.Barrier(2, timeout=20)
    bulkhead = Bulkhead(2)

    async def meet() -> None:
        assert await bulkhead.run(both.wait) in {0, 1}

    async def run() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(meet)
            group.start_soon(meet)

    anyio.run(run)
