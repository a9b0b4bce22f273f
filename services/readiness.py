"""Readiness: checks whether the database and the bucket respond."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from sqlalchemy.orm import Session

from db import reading
from errors import UnavailableError
from repositories import pending_objects
from telemetry import logger

TIMEOUT_SECONDS = 2.0


class Readiness:
    """Checks each dependency in its own thread, one check at a time.

    Concurrent requests share the result, so that probes do not pile up behind a hanging dependency.
    """

    def __init__(self, checks: dict[str, Callable[[], None]]) -> None:
        self._checks = checks
        self._threads = {name: ThreadPoolExecutor(1, f"ready-{name}") for name in checks}
        self._running: dict[str, Future[None]] = {}
        self.background: list[threading.Thread] = []
        self.shutting_down = False

    async def ask(self) -> dict[str, str]:
        """Return `ok`, `failed` or `timeout` for each dependency, within TIMEOUT_SECONDS.

        A thread of `background` that has ended counts as `failed`, because nothing restarts it.
        """
        for name, check in self._checks.items():
            if name not in self._running or self._running[name].done():
                self._running[name] = self._threads[name].submit(check)
        running = dict(self._running)
        await asyncio.wait(map(asyncio.wrap_future, running.values()), timeout=TIMEOUT_SECONDS)
        answers = {name: _answer(check) for name, check in running.items()}
        return answers | {
            thread.name: "failed" for thread in self.background if not thread.is_alive()
        }

    def close(self) -> None:
        """End the threads after their current check."""
        for thread in self._threads.values():
            thread.shutdown(wait=False)


def _answer(check: Future[None]) -> str:
    if not check.done():
        return "timeout"
    try:
        check.result()
    except UnavailableError:
        logger.warning("A readiness check failed", exc_info=True)
        return "failed"
    return "ok"


def ping(session: Session) -> None:
    """Run a query. Raises DatabaseUnavailableError."""
    with reading(session) as connection:
        pending_objects.ping(connection)
