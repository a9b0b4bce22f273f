"""Work in threads keeps its order, is bounded, and ends at an error."""

import threading
from collections.abc import Iterator

import pytest

from services.transfer.parallel import in_order


def test_order() -> None:
    """Results have the order of the items, although the first item takes longest."""
    others = threading.Semaphore(0)

    def work(item: int) -> int:
        if item == 0:
            assert others.acquire(timeout=10)
        else:
            others.release()
        return -item

    assert list(in_order(2, work, range(100))) == [-item for item in range(100)]


def test_bound() -> None:
    """Only a few items are taken ahead of the results."""
    taken: list[int] = []

    def items() -> Iterator[int]:
        for item in range(100):
            taken.append(item)
            yield item

    results = in_order(2, lambda item: item, items())
    assert next(results) == 0
    assert len(taken) <= 5
    results.close()
    assert len(taken) <= 5


def test_error() -> None:
    """An error ends the iteration and drops later items."""
    done: list[int] = []

    def work(item: int) -> None:
        if item == 3:
            raise ValueError("three")
        done.append(item)

    with pytest.raises(ValueError, match="three"):
        list(in_order(1, work, range(100)))
    assert len(done) < 10
