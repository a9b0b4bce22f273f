"""Stops the use of a SQLite database whose file has been moved, deleted or replaced.

A connection keeps the file that it opened. Writes to that file would be acknowledged, but lost
after a restart.
"""

import os
import sqlite3
from contextlib import suppress
from typing import Any

from sqlalchemy import Engine, event


def watch_file(engine: Engine) -> None:
    """Refuse connections once the engine's URL leads to another file than at first."""
    watched = _WatchedFile()
    event.listen(engine, "do_connect", watched.require)  # would create a missing file
    event.listen(engine, "connect", watched.note)
    event.listen(engine, "checkout", watched.require)


class _WatchedFile:
    """The file that the first connection opened."""

    def __init__(self) -> None:
        self._path: str | None = None
        self._identity: tuple[int, int] | None = None

    def note(self, connection: sqlite3.Connection, _record: object) -> None:
        if self._path is None:
            query = "SELECT file FROM pragma_database_list WHERE name = 'main'"
            path = connection.execute(query).fetchone()[0]
            self._identity = _identity(path)
            self._path = path

    def require(self, *_: Any) -> None:
        """Raise OperationalError if the path leads to another file, or to none."""
        if self._path is not None and _identity(self._path) != self._identity:
            reason = f"{self._path} was moved, deleted or replaced: start the service again"
            raise sqlite3.OperationalError(reason)


def _identity(path: str) -> tuple[int, int] | None:
    with suppress(OSError):
        status = os.stat(path)  # noqa: PTH116 - takes a third of the time of `Path.stat`
        return status.st_dev, status.st_ino
    return None
