"""PostgreSQL servers that fall silent: frozen, while the kernel still acknowledges packets.

`statement_timeout` needs a server that works, and TCP keepalives detect only a host that is gone.
libpq has no timeout for this case. Each connection notes when it starts to wait, and one thread
checks the notes.
"""

import contextlib
import os
import socket
import threading
import time
from typing import Any
from weakref import WeakSet

import psycopg2
from psycopg2 import extensions


class WatchedConnection(extensions.connection):
    """A connection that notes when it starts to wait for the server."""

    waiting_since: float | None = None
    given_up = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.cursor_factory = _WatchedCursor

    def wait_for(self, call: Any, *args: Any) -> Any:
        """Call a method that waits for the server. Raises OperationalError if it takes too long."""
        self.waiting_since = time.monotonic()
        try:
            return call(*args)
        except psycopg2.Error as exc:
            if self.given_up:
                raise psycopg2.OperationalError("timeout: the server did not answer") from exc
            raise
        finally:
            self.waiting_since = None

    def commit(self) -> None:
        """Commit the transaction."""
        self.wait_for(super().commit)

    def rollback(self) -> None:
        """Roll the transaction back."""
        self.wait_for(super().rollback)

    def give_up(self) -> None:
        """Make the call that waits for the server fail."""
        self.given_up = True
        with (
            contextlib.suppress(OSError, psycopg2.Error),  # already closed
            # A duplicate: libpq keeps and closes its own descriptor.
            socket.socket(fileno=os.dup(self.fileno())) as shared,
        ):
            shared.shutdown(socket.SHUT_RDWR)


class _WatchedCursor(extensions.cursor):
    connection: WatchedConnection

    def execute(self, query: Any, parameters: Any = None) -> None:
        self.connection.wait_for(super().execute, query, parameters)


class Watchdog:
    """Shuts down connections that wait for the server longer than `statement_timeout` allows."""

    def __init__(self, limit: float) -> None:
        """Allow a quarter more than `limit` seconds, at which a working server ends statements."""
        self._limit = 1.25 * limit
        self._watched: WeakSet[WatchedConnection] = WeakSet()
        self._lock = threading.Lock()
        self._running = False

    def watch(self, connection: WatchedConnection, _record: object = None) -> None:
        """Watch a connection until it is closed."""
        with self._lock:
            self._watched.add(connection)
            if not self._running:
                threading.Thread(target=self._run, name="database-watchdog", daemon=True).start()
                self._running = True  # only once the thread has started

    def _run(self) -> None:
        while self._check():
            time.sleep(self._limit / 5)

    def _check(self) -> bool:
        """Give up overdue connections; return whether any connection is left to watch."""
        with self._lock:
            watched = [connection for connection in self._watched if not connection.closed]
            self._running = bool(watched)
        for connection in watched:
            since = connection.waiting_since
            if since is not None and time.monotonic() - since > self._limit:
                connection.give_up()
        return self._running
