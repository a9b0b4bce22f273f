"""SQLite: what happens to the file of the database while the service runs.

A connection keeps the file that it opened, also after that was moved, deleted or replaced. Writes
would be acknowledged, and gone after a restart.
"""

import os
import sqlite3
from contextlib import suppress
from typing import Any

from sqlalchemy import Engine, event


def watch_file(engine: Engine) -> None:
    """Let connections be used only while the file in the URL of the engine is the first one."""
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
            found = connection.execute("SELECT file FROM pragma_database_list WHERE name = 'main'")
            path = found.fetchone()[0]
            self._identity = _identity(path)
            self._path = path

    def require(self, *_: Any) -> None:
        """Raise OperationalError. Another file may lie beside the log of the first one."""
        if self._path is not None and _identity(self._path) != self._identity:
            reason = f"{self._path} was moved, deleted or replaced: start the service again"
            raise sqlite3.OperationalError(reason)


def _identity(path: str) -> tuple[int, int] | None:
    with suppress(OSError):
        about = os.stat(path)  # noqa: PTH116 - a third of the time of `Path.stat`
        return about.st_dev, about.st_ino
    return None
