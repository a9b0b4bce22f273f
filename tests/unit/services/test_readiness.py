"""Readiness checks each dependency, and does not wait for one that hangs."""

import asyncio
import threading
from collections.abc import Callable, Iterator

import pytest

from errors import DatabaseUnavailableError
from services import readiness
from services.readiness import Readiness


def refuse() -> None:
    """Fail like an unreachable database."""
    raise DatabaseUnavailableError


class Hanging:
    """A check that hangs until the test releases it."""

    def __init__(self) -> None:
        self.calls = 0
        self.release = threading.Event()

    def __call__(self) -> None:
        """Count the call and wait."""
        self.calls += 1
        assert self.release.wait(20)


@pytest.fixture
def hanging(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hanging]:
    """Return a check that hangs for longer than readiness waits."""
    monkeypatch.setattr(readiness, "TIMEOUT_SECONDS", 0.01)
    check = Hanging()
    yield check
    check.release.set()


@pytest.mark.parametrize(("check", "answer"), [(lambda: None, "ok"), (refuse, "failed")])
def test_answers(check: Callable[[], None], answer: str) -> None:
    """Each dependency is `ok` or `failed`, independently of the others."""
    ready = Readiness({"database": check, "bucket": lambda: None})
    for _ in range(2):
        assert asyncio.run(ready.ask()) == {"database": answer, "bucket": "ok"}
    ready.close()


def test_hanging(hanging: Hanging) -> None:
    """Probes of a hanging dependency share one check and time out."""
    ready = Readiness({"bucket": hanging})
    for _ in range(3):
        assert asyncio.run(ready.ask()) == {"bucket": "timeout"}
    assert hanging.calls == 1
    ready.close()


def test_background() -> None:
    """A background thread that has ended is reported as failed; a running one is not reported."""
    ready, go_on = Readiness({"bucket": lambda: None}), threading.Event()
    ended = threading.Thread(target=lambda: None, name="sweeper")
    running = threading.Thread(target=go_on.wait, name="watchdog")
    ready.background += [ended, running]
    ended.start()
    running.start()
    ended.join()
    assert asyncio.run(ready.ask()) == {"bucket": "ok", "sweeper": "failed"}
    go_on.set()
    running.join()
    ready.close()
