"""A large download is sent in chunks; a truncated one never looks complete."""

import io
from collections.abc import Awaitable, Callable

import anyio
import pytest
from starlette.types import Message

from web.bulkhead import Bulkhead
from web.streaming import ObjectResponse

MEGABYTE = 1024 * 1024


class InMemory(io.BytesIO):
    """An open object in memory."""

    def read_all(self, size: int) -> bytes:
        """Return all bytes."""
        return self.read(size)


async def _connected() -> Message:
    await anyio.sleep_forever()
    raise AssertionError


async def _disconnected() -> Message:
    return {"type": "http.disconnect"}


def sent(
    body: InMemory, length: int, receive: Callable[[], Awaitable[Message]] = _connected
) -> list[Message]:
    """Send `body` as an object of that length; return the messages to the server."""
    messages: list[Message] = []

    async def send(message: Message) -> None:
        messages.append(message)
        await anyio.lowlevel.checkpoint()

    async def run() -> None:
        bulkhead = Bulkhead(1)
        await ObjectResponse(body, length, 200, {}, bulkhead)({}, receive, send)
        assert bulkhead.streams == 0

    anyio.run(run)
    assert body.closed
    return messages


def test_chunks() -> None:
    """A client that takes its chunks promptly gets the object in ever larger ones."""
    content = bytes(range(256)) * (20 * MEGABYTE // 256)
    begin, *chunks = sent(InMemory(content), len(content))
    assert (b"content-length", str(len(content)).encode()) in begin["headers"]
    assert b"".join(chunk["body"] for chunk in chunks) == content
    assert [chunk["more_body"] for chunk in chunks] == [True] * (len(chunks) - 1) + [False]
    assert len(chunks[0]["body"]) == MEGABYTE // 4
    assert max(len(chunk["body"]) for chunk in chunks) == 2 * MEGABYTE


@pytest.mark.parametrize("length", [10, 12])
def test_another_length(length: int) -> None:
    """A response whose object differs in length from its row never ends, so the server aborts."""
    messages = sent(InMemory(b"x" * 11), length)
    assert not [message for message in messages[1:] if not message["more_body"]]


def test_disconnect() -> None:
    """If the client disconnects, the object is closed without reading the rest."""
    messages = sent(InMemory(bytes(20 * MEGABYTE)), 20 * MEGABYTE, _disconnected)
    assert sum(len(message.get("body", b"")) for message in messages) < 20 * MEGABYTE
