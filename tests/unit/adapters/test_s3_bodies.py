"""Bodies of objects are read in pieces, whole, or not at all."""

import io
import time

import obstore
import pytest
from obstore.store import MemoryStore

from adapters.s3_bodies import DeadlineReader, ObjectBody
from errors import StorageUnavailableError

CONTENT = bytes(range(256)) * 4096


def body() -> ObjectBody:
    """Return the body of an object in a store in memory."""
    store = MemoryStore()
    obstore.put(store, "key", CONTENT)
    return ObjectBody(obstore.get(store, "key"))


@pytest.mark.parametrize("size", [1, 100_000, 2_000_000])
def test_pieces(size: int) -> None:
    """Each piece except the last has at least the requested size."""
    opened, pieces = body(), list[bytes]()
    while piece := opened.read(size):
        pieces.append(piece)
    assert opened.length == len(CONTENT)
    assert b"".join(pieces) == CONTENT
    assert all(len(piece) >= size for piece in pieces[:-1])


def test_whole() -> None:
    """A body is read whole if it has the expected size."""
    assert body().read_all() == body().read_all(len(CONTENT)) == CONTENT
    with pytest.raises(StorageUnavailableError, match="instead of 5"):
        body().read_all(5)


def test_part() -> None:
    """The body of a range has the length of the range."""
    store = MemoryStore()
    obstore.put(store, "key", CONTENT)
    part = ObjectBody(obstore.get(store, "key", options={"range": (100, 300)}))
    assert part.length == 200
    assert part.read_all(200) == CONTENT[100:300]


def test_closed() -> None:
    """Nothing is read after the end."""
    opened = body()
    opened.close()
    assert opened.read(10) == b""


def test_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file cannot be sent after its deadline."""
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    reader = DeadlineReader(io.BytesIO(b"abcdef"), deadline=101)
    assert reader.read(3) == b"abc"
    reader.seek(1)
    now = 102
    with pytest.raises(StorageUnavailableError, match="has passed"):
        reader.read()
    assert reader.tell() == 1
