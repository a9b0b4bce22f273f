"""Pooled connections that died while they were idle: the database restarted or failed over."""

import functools
import select as sockets
import time
from typing import Any

import psycopg2
from sqlalchemy import Dialect, Engine, event
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.pool import ConnectionPoolEntry

# The pool pings connections that were idle for longer.
_PING_AFTER_SECONDS = 1.0
# The pool polls the sockets of connections that were idle for longer.
_POLL_AFTER_SECONDS = 0.05


def replace_dead_connections(engine: Engine) -> None:
    """Let the engine's pool replace connections that died while they were idle."""
    event.listen(engine, "checkin", _note_return)
    event.listen(engine, "checkout", functools.partial(_require_alive, engine.dialect))


def _note_return(_connection: object, record: ConnectionPoolEntry) -> None:
    record.info["returned"] = time.monotonic()


def _require_alive(
    dialect: Dialect, connection: Any, record: ConnectionPoolEntry, _proxy: object
) -> None:
    """Raise DisconnectionError, after which the pool reconnects, if the connection is dead.

    SQLAlchemy's pre-ping asks every time: a quarter of the CPU of a metadata request.
    """
    returned = record.info.get("returned")
    if returned is None:
        return
    idle = time.monotonic() - returned
    # A poll releases the GIL; under load that costs as much as the query.
    if idle < _POLL_AFTER_SECONDS or (idle < _PING_AFTER_SECONDS and not _has_input(connection)):
        return
    try:
        alive = dialect.do_ping(connection)
    except dialect.loaded_dbapi.Error:
        alive = False
    if not alive:
        raise DisconnectionError


def _has_input(connection: Any) -> bool:
    """Whether the server sent something unasked: usually that it closes the connection."""
    # PyMySQL has no public way to its socket; SQLite has none.
    source = connection if hasattr(connection, "fileno") else getattr(connection, "_sock", None)
    if source is None:
        return False
    poller = sockets.poll()
    try:
        poller.register(source, sockets.POLLIN)
    except (ValueError, OSError, psycopg2.Error):  # already closed
        return True
    return bool(poller.poll(0))
