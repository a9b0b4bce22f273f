"""Variants under way: one at a time of each, a few at once, a bounded number of them waiting."""

import threading
from collections.abc import Iterator

import anyio
import pytest

from errors import OverloadedError
from web import renderings
from web.renderings import Renderings


class Maker:
    """Makes nothing, for as long as it is held up, and counts how often it is asked."""

    def __init__(self) -> None:
        self.asked = 0
        self.at_once = self.most_at_once = 0
        self.go_on = threading.Event()
        self._lock = threading.Lock()

    def __call__(self) -> None:
        """Wait."""
        with self._lock:
            self.asked += 1
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        assert self.go_on.wait(20)
        with self._lock:
            self.at_once -= 1


@pytest.fixture
def maker() -> Iterator[Maker]:
    """Return a maker that does not hold up the end of the test."""
    maker = Maker()
    yield maker
    maker.go_on.set()


def test_bounded(maker: Maker) -> None:
    """Of each variant one is made, two at once; more than 64 under way are refused at once."""

    async def run() -> None:
        under_way = Renderings()
        keys = [(str(number), "320.jpg") for number in range(renderings._MOST_UNDER_WAY)]
        async with anyio.create_task_group() as group:
            for key in keys * 2:
                group.start_soon(under_way.run, key, maker)
            await anyio.wait_all_tasks_blocked()
            with pytest.raises(OverloadedError):
                await under_way.run(("more", "320.jpg"), maker)
            maker.go_on.set()
        assert maker.asked == len(keys)
        assert maker.most_at_once == 2
        await under_way.run(("more", "320.jpg"), maker)

    anyio.run(run)


def test_who_leaves(maker: Maker) -> None:
    """Whoever goes away does not take the variant from those who wait for it, too."""

    async def run() -> None:
        under_way = Renderings()
        async with anyio.create_task_group() as group:
            with anyio.move_on_after(0):
                await under_way.run(("a", "320.jpg"), maker)
            group.start_soon(under_way.run, ("a", "320.jpg"), maker)
            await anyio.wait_all_tasks_blocked()
            maker.go_on.set()
        assert maker.asked == 1

    anyio.run(run)
