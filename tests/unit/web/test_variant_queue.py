"""Each variant is made only once, a few at a time, and no client keeps others waiting."""

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import anyio
import pytest

from config import VariantSpec
from errors import OverloadedError
from services.image_store import ImageRecord
from services.variant_formats import VariantChoice
from services.variant_store import MissingVariant, Variant
from web import variant_queue
from web.variant_queue import VariantQueue

_NOW = datetime.now(UTC)
_LARGE = 50_000_000


def image(key: str, pixels: int = 320) -> ImageRecord:
    """Return the record of an image under that key, with that many pixels."""
    return ImageRecord(1, "a", 7, "jpg", "image/jpeg", "0" * 64, pixels, 1, key, _NOW, _NOW)


MADE = Variant(image(""), image(""), b"picture")


def missing(key: str, side: int = 320, pixels: int = 320) -> MissingVariant:
    """Return a missing variant of that side, of the image under that key."""
    return MissingVariant(image(key, pixels), VariantChoice(VariantSpec(side, side), ("png",)))


class Maker:
    """Makes variants once it is released, and records their order."""

    def __init__(self) -> None:
        self.begun: list[MissingVariant] = []
        self.at_once = self.most_at_once = 0
        self.go_on = threading.Event()
        self._lock = threading.Lock()

    @property
    def images(self) -> list[str]:
        """The keys of the images whose variants were begun."""
        return [missing.image.s3_key for missing in self.begun]

    def of(self, missing: MissingVariant) -> Callable[[], Variant]:
        """Return a call that waits, and then returns the variant."""

        def make() -> Variant:
            with self._lock:
                self.begun.append(missing)
                self.at_once += 1
                self.most_at_once = max(self.most_at_once, self.at_once)
            assert self.go_on.wait(20)
            with self._lock:
                self.at_once -= 1
            return MADE

        return make


class Crowd:
    """Clients that ask a queue for variants at the same time."""

    def __init__(self, maker: Maker, group: anyio.abc.TaskGroup) -> None:
        self.queue = VariantQueue()
        self.shed: list[MissingVariant] = []
        self._maker, self._group = maker, group

    async def ask(self, client: str, *variants: MissingVariant) -> None:
        """Request variants; return when all are waiting or being made."""
        for variant in variants:
            self._group.start_soon(self._ask, client, variant)
            await anyio.wait_all_tasks_blocked()

    async def _ask(self, client: str, variant: MissingVariant) -> None:
        try:
            assert await self.queue.run(client, variant, self._maker.of(variant)) is MADE
        except OverloadedError:
            self.shed.append(variant)


@pytest.fixture
def maker() -> Iterator[Maker]:
    """Return a maker that is released at the end of the test."""
    maker = Maker()
    yield maker
    maker.go_on.set()


@pytest.fixture
def one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a queue make one variant at a time."""
    monkeypatch.setattr(variant_queue, "_THREADS", 1)


def test_bounded(maker: Maker) -> None:
    """Each of many variants is made once, two at once."""

    async def run() -> None:
        async with anyio.create_task_group() as group:
            crowd = Crowd(maker, group)
            await crowd.ask("a", *[missing(str(number)) for number in range(40)] * 2)
            maker.go_on.set()
        assert crowd.shed == []
        assert sorted(maker.images) == sorted(str(number) for number in range(40))
        assert maker.most_at_once == 2
        assert await crowd.queue.run("a", missing("0"), maker.of(missing("0"))) is MADE

    anyio.run(run)


def test_cancelled_request(maker: Maker) -> None:
    """A cancelled request does not cancel the variant for others that wait for it."""

    async def run() -> None:
        queue = VariantQueue()
        async with anyio.create_task_group() as group:
            with anyio.move_on_after(0):
                await queue.run("a", missing("1"), maker.of(missing("1")))
            group.start_soon(queue.run, "b", missing("1"), maker.of(missing("1")))
            await anyio.wait_all_tasks_blocked()
            maker.go_on.set()
        assert maker.images == ["1"]

    anyio.run(run)


def test_an_image_has_one_place(maker: Maker) -> None:
    """While an image's variant is made, its others leave the second place to another image."""

    async def run() -> None:
        async with anyio.create_task_group() as group:
            crowd = Crowd(maker, group)
            await crowd.ask("a", *[missing("greedy", side) for side in range(1, 9)])
            assert maker.images == ["greedy"]
            await crowd.ask("a", missing("honest"))
            assert maker.images == ["greedy", "honest"]
            maker.go_on.set()
        assert maker.images.count("greedy") == 8

    anyio.run(run)


def test_large_images_have_one_place(maker: Maker) -> None:
    """While a large image's variant is made, other large ones leave the second place free."""

    async def run() -> None:
        async with anyio.create_task_group() as group:
            crowd = Crowd(maker, group)
            await crowd.ask("a", *[missing(f"large {i}", pixels=_LARGE) for i in range(8)])
            assert maker.images == ["large 0"]
            await crowd.ask("a", missing("small"))
            assert maker.images == ["large 0", "small"]
            maker.go_on.set()
        assert len(maker.images) == 9

    anyio.run(run)


@pytest.mark.usefixtures("one_at_a_time")
def test_images_take_turns(maker: Maker) -> None:
    """An image with many variants to be made waits after each of them for all other images."""

    async def run() -> None:
        async with anyio.create_task_group() as group:
            crowd = Crowd(maker, group)
            await crowd.ask("a", *[missing("greedy", side) for side in range(1, 6)])
            await crowd.ask("a", missing("x"), missing("y", 1), missing("y", 2))
            maker.go_on.set()
        order = ["greedy", "greedy", "x", "y", "greedy", "y", "greedy", "greedy"]
        assert maker.images == order

    anyio.run(run)


@pytest.mark.usefixtures("one_at_a_time")
def test_clients_take_turns(maker: Maker) -> None:
    """A client that waits for many images waits after each of them for all other clients."""

    async def run() -> None:
        async with anyio.create_task_group() as group:
            crowd = Crowd(maker, group)
            await crowd.ask("greedy", *[missing(f"g{number}") for number in range(5)])
            await crowd.ask("b", missing("b0"), missing("b1"))
            await crowd.ask("c", missing("c0"))
            maker.go_on.set()
        assert maker.images == ["g0", "g1", "b0", "c0", "g2", "b1", "g3", "g4"]

    anyio.run(run)


@pytest.mark.usefixtures("one_at_a_time")
def test_waits_in_the_better_turn(maker: Maker) -> None:
    """A variant that a greedy client also waits for is made in the turn of the other client."""

    async def run() -> None:
        async with anyio.create_task_group() as group:
            crowd = Crowd(maker, group)
            await crowd.ask("greedy", *[missing(f"g{number}") for number in range(5)])
            await crowd.ask("b", missing("g4"))
            maker.go_on.set()
        assert maker.images == ["g0", "g1", "g4", "g2", "g3"]

    anyio.run(run)


@pytest.mark.usefixtures("one_at_a_time")
@pytest.mark.parametrize(
    "greedy",
    [
        [("greedy", missing(f"g{number}")) for number in range(5)],
        [("a", missing("g", side)) for side in range(1, 6)],
        [("a", missing(f"g{number}", pixels=_LARGE)) for number in range(5)],
    ],
    ids=["client", "image", "large"],
)
def test_sheds_the_greediest(
    maker: Maker, monkeypatch: pytest.MonkeyPatch, greedy: list[tuple[str, MissingVariant]]
) -> None:
    """If too many wait, only the newest turn of the greediest client or image is refused."""
    monkeypatch.setattr(variant_queue, "_MAX_WAITING", 4)

    async def run() -> None:
        async with anyio.create_task_group() as group:
            crowd = Crowd(maker, group)
            for client, variant in greedy:
                await crowd.ask(client, variant)
            assert crowd.shed == []
            await crowd.ask("a", missing("honest"))
            assert crowd.shed == [variant for _, variant in greedy[-1:]]
            await crowd.ask(*greedy[-1])
            assert crowd.shed == [variant for _, variant in greedy[-1:] * 2]
            maker.go_on.set()
        assert "honest" in maker.images

    anyio.run(run)
