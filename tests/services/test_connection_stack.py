"""The pool's stack of idle connections: none is lent twice, and none is waited for in vain."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import cast

import pytest
from sqlalchemy.pool import ConnectionPoolEntry
from sqlalchemy.util.queue import Empty

from adapters.connection_stack import ConnectionStack


def connections(number: int) -> list[ConnectionPoolEntry]:
    """Return what the stack takes for connections: it does not look inside."""
    return [cast(ConnectionPoolEntry, object()) for _ in range(number)]


def test_last_in_first_out() -> None:
    """Who was returned last, and is warm, goes first; whoever may not wait is told that none is."""
    stack, (first, second) = ConnectionStack(), connections(2)
    stack.put(first)
    stack.put(second)
    assert stack.qsize() == 2
    assert stack.get(block=False) is second
    assert stack.get(block=False) is first
    with pytest.raises(Empty):
        stack.get(block=False)


def test_wait_is_bounded() -> None:
    """Where none is returned in time, the wait ends."""
    with pytest.raises(Empty):
        ConnectionStack().get(timeout=0.01)


def test_crowd() -> None:
    """16 threads share 2 connections: nobody has one that somebody else has, all get theirs."""
    stack, both = ConnectionStack(), connections(2)
    for connection in both:
        stack.put(connection)
    lent: set[int] = set()
    lock = threading.Lock()

    def borrow(_: int) -> None:
        for _ in range(200):
            connection = stack.get(timeout=30)
            with lock:
                assert id(connection) not in lent
                lent.add(id(connection))
            time.sleep(0)  # somebody else's turn
            with lock:
                lent.remove(id(connection))
            stack.put(connection)

    with ThreadPoolExecutor(16) as threads:
        list(threads.map(borrow, range(16)))
    assert stack.qsize() == 2
