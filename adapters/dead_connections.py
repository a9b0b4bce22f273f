"""Connections that died while they lay in the pool: after a restart or a move of the database."""

import functools
import select as sockets
import time
from typing import Any

import psycopg2
from sqlalchemy import Dialect, Engine, event
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.pool import ConnectionPoolEntry

# A connection that was used within this time is taken to be alive.
_PAUSE_SECONDS = 1.0
# Nor is one that was used within this time looked at.
_GLANCE_SECONDS = 0.05


def replace_dead_connections(engine: Engine) -> None:
    """Let the engine's pool replace connections that died while they lay unused."""
    event.listen(engine, "checkin", _note_return)
    event.listen(engine, "checkout", functools.partial(_require_alive, engine.dialect))


def _note_return(_connection: object, record: ConnectionPoolEntry) -> None:
    record.info["returned"] = time.monotonic()


def _require_alive(
    dialect: Dialect, connection: Any, record: ConnectionPoolEntry, _proxy: object
) -> None:
    """Raise DisconnectionError, at which the pool connects anew, unless the connection is alive.

    SQLAlchemy's own pre-ping asks every time, which is a quarter of the CPU of a metadata request.
    """
    returned = record.info.get("returned")
    if returned is None:
        return
    idle = time.monotonic() - returned
    # Looking at the socket hands the GIL over: under load that would cost as much as the query.
    if idle < _GLANCE_SECONDS or (idle < _PAUSE_SECONDS and not _has_news(connection)):
        return
    try:
        alive = dialect.do_ping(connection)
    except dialect.loaded_dbapi.Error:
        alive = False
    if not alive:
        raise DisconnectionError


def _has_news(connection: Any) -> bool:
    """Whether the server sent something unasked: that it ends the connection, most of the time."""
    # PyMySQL has no public way to its socket; SQLite has none.
    source = connection if hasattr(connection, "fileno") else getattr(connection, "_sock", None)
    if source is None:
        return False
    poller = sockets.poll()
    try:
        poller.register(source, sockets.POLLIN)
    except (ValueError, OSError, psycopg2.Error):  # it is closed
        return True
    return bool(poller.poll(0))
