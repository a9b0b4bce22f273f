"""The variant queue makes each variant once, runs few at a time and bounds those that wait."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime

import anyio
import pytest

from errors import OverloadedError
from services.image_store import ImageRecord
from services.variant_store import Variant
from web import variant_queue
from web.variant_queue import VariantQueue

_NOW = datetime.now(UTC)
_IMAGE = ImageRecord(1, "a", 7, "jpg", "image/jpeg", "0" * 64, 320, 160, "", _NOW, _NOW)
MADE = Variant(_IMAGE, b"picture")


class Maker:
    """Makes a variant when `go_on` is set, and counts its calls."""

    def __init__(self) -> None:
        self.asked = 0
        self.at_once = self.most_at_once = 0
        self.go_on = threading.Event()
        self._lock = threading.Lock()

    def __call__(self) -> Variant:
        """Wait for `go_on`, then return the variant."""
        with self._lock:
            self.asked += 1
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        assert self.go_on.wait(20)
        with self._lock:
            self.at_once -= 1
        return MADE


@pytest.fixture
def maker() -> Iterator[Maker]:
    """Return a maker that is released at the end of the test."""
    maker = Maker()
    yield maker
    maker.go_on.set()


def test_bounded(maker: Maker) -> None:
    """Each variant is made once, two at a time; with 64 in the queue others are refused."""

    async def run() -> None:
        queue = VariantQueue()
        keys = [(str(number), "320.jpg") for number in range(variant_queue._MOST_UNDER_WAY)]
        async with anyio.create_task_group() as group:
            for key in keys * 2:
                group.start_soon(queue.run, key, maker)
            await anyio.wait_all_tasks_blocked()
            with pytest.raises(OverloadedError):
                await queue.run(("more", "320.jpg"), maker)
            maker.go_on.set()
        assert maker.asked == len(keys)
        assert maker.most_at_once == 2
        assert await queue.run(("more", "320.jpg"), maker) is MADE

    anyio.run(run)


def test_cancelled_request(maker: Maker) -> None:
    """A cancelled request does not cancel the variant for others that wait for it."""

    async def run() -> None:
        queue = VariantQueue()
        async with anyio.create_task_group() as group:
            with anyio.move_on_after(0):
                await queue.run(("a", "320.jpg"), maker)
            group.start_soon(queue.run, ("a", "320.jpg"), maker)
            await anyio.wait_all_tasks_blocked()
            maker.go_on.set()
        assert maker.asked == 1

    anyio.run(run)
