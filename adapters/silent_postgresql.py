"""PostgreSQL connections whose server is silent: frozen, though its kernel still acknowledges.

`statement_timeout` needs a server that works, TCP keepalives a host that is gone. For what is left,
libpq has no timeout, and psycopg2's own hook for it (`set_wait_callback`) costs a metadata request
a third: each poll hands the GIL over once more. So each connection notes since when it waits, and
one thread looks at the notes.
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
    """Notes since when it waits for the server."""

    waiting_since: float | None = None
    given_up = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.cursor_factory = _WatchedCursor

    def wait_for(self, call: Any, *args: Any) -> Any:
        """Call what asks the server. Raises OperationalError when the watchdog gave up."""
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
        """Let whoever waits for the server get an error."""
        self.given_up = True
        with (
            contextlib.suppress(OSError, psycopg2.Error),  # it is closed already
            # A copy: closing it leaves the connection's own descriptor to libpq.
            socket.socket(fileno=os.dup(self.fileno())) as shared,
        ):
            shared.shutdown(socket.SHUT_RDWR)


class _WatchedCursor(extensions.cursor):
    connection: WatchedConnection

    def execute(self, query: Any, parameters: Any = None) -> None:
        self.connection.wait_for(super().execute, query, parameters)


class Watchdog:
    """Shuts connections down that wait for the server longer than `statement_timeout` allows."""

    def __init__(self, limit: float) -> None:
        """Let a server that works end its own statements after `limit` seconds, and a bit more."""
        self._limit = 1.25 * limit
        self._watched: WeakSet[WatchedConnection] = WeakSet()
        self._lock = threading.Lock()
        self._running = False

    def watch(self, connection: WatchedConnection, _record: object = None) -> None:
        """Watch a new connection until it is closed."""
        with self._lock:
            self._watched.add(connection)
            if not self._running:
                self._running = True
                threading.Thread(target=self._run, name="database-watchdog", daemon=True).start()

    def _run(self) -> None:
        while self._look():
            time.sleep(self._limit / 5)

    def _look(self) -> bool:
        """Give up what is overdue; return whether there is anything left to watch."""
        with self._lock:
            watched = [connection for connection in self._watched if not connection.closed]
            self._running = bool(watched)
        for connection in watched:
            since = connection.waiting_since
            if since is not None and time.monotonic() - since > self._limit:
                connection.give_up()
        return self._running
