"""Makes the variants of this process, a few at a time, while others wait for their turn.

Turns alternate between clients, and between the images of a client, so that none takes all turns.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

import anyio
import anyio.to_thread

from errors import OverloadedError
from services.variant_store import MissingVariant, Variant

# As many as there are decoders. With 40 thumbnails at once, the p99 of metadata was 0.9 to 1.3
# times that under other CPU load; with four threads, which fetch more from S3, 1.2 to 2.6 times.
_THREADS = 2
_THREADS_FOR_LARGE = 1
_LARGE_PIXELS = 16_000_000
_MAX_WAITING = 128


@dataclass(eq=False, slots=True)
class _Turn:
    """A variant to make, and the client whose turn it uses."""

    client: str
    missing: MissingVariant
    begin: asyncio.Future[None] = field(init=False, default_factory=asyncio.Future)
    task: asyncio.Task[Variant] = field(init=False)

    @property
    def image(self) -> str:
        return self.missing.image.s3_key

    @property
    def pixels(self) -> int:
        return self.missing.image.width * self.missing.image.height

    @property
    def is_large(self) -> bool:
        return self.pixels > _LARGE_PIXELS


class _Waiting:
    """Waiting turns by client and image.

    The client that was served last moves to the end of the line, and so does its image.
    """

    def __init__(self) -> None:
        self._lines: dict[str, dict[str, list[_Turn]]] = {}

    def __len__(self) -> int:
        return sum(map(self._turns_of, self._lines))

    def _turns_of(self, client: str) -> int:
        return sum(map(len, self._lines.get(client, {}).values()))

    def add(self, turn: _Turn) -> None:
        self._lines.setdefault(turn.client, {}).setdefault(turn.image, []).append(turn)

    def adopt(self, client: str, turn: _Turn) -> None:
        """Charge a turn to another client that requests it too, if that client has fewer turns."""
        if self._turns_of(client) < self._turns_of(turn.client):
            self._remove(turn)
            turn.client = client
            self.add(turn)

    def take(self, may_begin: Callable[[_Turn], bool]) -> _Turn | None:
        """Remove and return the first turn that may begin, if any."""
        firsts = (line[0] for images in self._lines.values() for line in images.values())
        turn = next(filter(may_begin, firsts), None)
        if turn:
            self._remove(turn)
        return turn

    def shed(self) -> _Turn:
        """Remove and return the newest turn of the client and image with the most turns.

        Among images with equally many turns, the one with the most pixels loses its turn.
        """
        client = max(reversed(self._lines), key=self._turns_of)
        images = self._lines[client]
        image = max(reversed(images), key=lambda key: (len(images[key]), images[key][-1].pixels))
        turn = images[image][-1]
        self._remove(turn)
        return turn

    def _remove(self, turn: _Turn) -> None:
        images = self._lines.pop(turn.client)
        line = images.pop(turn.image)
        line.remove(turn)
        if line:
            images[turn.image] = line
        if images:
            self._lines[turn.client] = images


class VariantQueue:
    """Makes variants, each once at a time. Only the event loop uses it."""

    def __init__(self) -> None:
        self._threads = anyio.CapacityLimiter(_THREADS)
        self._turns: dict[tuple[str, str], _Turn] = {}
        self._waiting = _Waiting()
        self._running: list[_Turn] = []

    async def run(
        self, client: str, missing: MissingVariant, make: Callable[[], Variant]
    ) -> Variant:
        """Call `make` in a thread of the queue, or await the call that is already under way.

        Only one call runs at a time for each image, and only one for all large images. Raises what
        `make` raises, or OverloadedError if too many wait and this client or image has the most.
        """
        turn = self._turns.get(missing.key)
        if turn is None:
            turn = self._enqueue(_Turn(client, missing), make)
        elif not turn.begin.done():
            self._waiting.adopt(client, turn)
        return await asyncio.shield(turn.task)

    def _enqueue(self, turn: _Turn, make: Callable[[], Variant]) -> _Turn:
        turn.task = asyncio.create_task(self._make(turn, make))
        # If all clients have disconnected, nobody else retrieves the exception.
        turn.task.add_done_callback(lambda done: done.cancelled() or done.exception())
        self._turns[turn.missing.key] = turn
        self._waiting.add(turn)
        self._begin_turns()
        if len(self._waiting) > _MAX_WAITING:
            error = OverloadedError("Too many variants at once; try again.")
            self._waiting.shed().begin.set_exception(error)
        return turn

    async def _make(self, turn: _Turn, make: Callable[[], Variant]) -> Variant:
        try:
            await turn.begin
            return await anyio.to_thread.run_sync(make, limiter=self._threads)
        finally:
            del self._turns[turn.missing.key]
            if turn in self._running:
                self._running.remove(turn)
                self._begin_turns()

    def _begin_turns(self) -> None:
        while len(self._running) < _THREADS and (turn := self._waiting.take(self._may_begin)):
            self._running.append(turn)
            turn.begin.set_result(None)

    def _may_begin(self, turn: _Turn) -> bool:
        if turn.is_large and sum(other.is_large for other in self._running) >= _THREADS_FOR_LARGE:
            return False
        return turn.image not in {other.image for other in self._running}
