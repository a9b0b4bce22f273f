"""Pooled connections that died while idle, because the database restarted or failed over."""

import functools
import time
from typing import Any

from sqlalchemy import Dialect, Engine, event
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.pool import ConnectionPoolEntry

# Connections idle for longer are pinged before use. Under load, hardly any are.
_PING_AFTER_SECONDS = 0.05


def replace_dead_connections(engine: Engine) -> None:
    """Make the engine's pool replace connections that died while idle."""
    event.listen(engine, "checkin", _note_return)
    event.listen(engine, "checkout", functools.partial(_require_alive, engine.dialect))


def _note_return(_connection: object, record: ConnectionPoolEntry) -> None:
    record.info["returned"] = time.monotonic()


def _require_alive(
    dialect: Dialect, connection: Any, record: ConnectionPoolEntry, _proxy: object
) -> None:
    """Raise DisconnectionError, which makes the pool reconnect, if the connection is dead.

    SQLAlchemy's pre-ping would ping every time: a quarter of the CPU of a metadata request.
    """
    returned = record.info.get("returned")
    if returned is None or time.monotonic() - returned < _PING_AFTER_SECONDS:
        return
    try:
        alive = dialect.do_ping(connection)
    except dialect.loaded_dbapi.Error:
        alive = False
    if not alive:
        raise DisconnectionError
