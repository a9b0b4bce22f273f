"""What each database needs of its driver: bounded waits, UTC, the begin of transactions."""

import functools
import inspect
import math
from typing import Any

import psycopg2
import pymysql
from psycopg2 import extensions as psycopg2_extensions
from sqlalchemy import Connection, Engine, ExceptionContext, event, make_url
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from adapters import unverified_engines
from adapters.dead_connections import replace_dead_connections
from adapters.silent_postgresql import Watchdog, WatchedConnection
from config import Settings

# Notice within a minute that the server's host is gone; a URL may say otherwise.
_KEEPALIVES = {"keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3}

# Unique violation, serialisation failure, deadlock, lock wait timeout, snapshot changed.
_UNDONE_SQLSTATES = {"23505", "40001", "40P01"}
_UNDONE_MYSQL_ERRORS = {1062, 1213, 1205, 1020}
# Server shutdown, connection killed (MariaDB, MySQL).
_KILLED_MYSQL_CONNECTION = {1053, 1927, 3169}
_UNDONE_SQLITE_ERRORS = {"SQLITE_CONSTRAINT_UNIQUE", "SQLITE_CONSTRAINT_PRIMARYKEY"}


def is_undone(exc: SQLAlchemyError) -> bool:
    """Whether the database itself says that the transaction did not happen and may be retried."""
    if not isinstance(exc, DBAPIError) or exc.connection_invalidated:
        return False
    error = exc.orig
    if error is None:
        return False
    return bool(
        getattr(error, "pgcode", None) in _UNDONE_SQLSTATES
        or getattr(error, "sqlite_errorname", None) in _UNDONE_SQLITE_ERRORS
        or (isinstance(next(iter(error.args), None), int) and error.args[0] in _UNDONE_MYSQL_ERRORS)
        or unverified_engines.is_undone(error)
    )


def lost_connection(exc: BaseException | None) -> bool:
    """Whether the error says that the connection is dead, not that the server takes too long."""
    driver_error = exc.orig if isinstance(exc, DBAPIError) else exc
    if "timeout" in str(driver_error) or "timed out" in str(driver_error):
        return False
    if isinstance(exc, psycopg2.Error):  # of a raw cursor
        return isinstance(exc, psycopg2.OperationalError | psycopg2.InterfaceError)
    return isinstance(exc, DBAPIError) and exc.connection_invalidated


def _notice_killed_connection(context: ExceptionContext) -> None:
    """Let SQLAlchemy throw away a connection that an administrator ended, and the pool with it."""
    arguments: tuple[Any, ...] = context.original_exception.args
    if arguments[:1] and arguments[0] in _KILLED_MYSQL_CONNECTION:
        context.is_disconnect = True


def prepare(engine: Engine, settings: Settings) -> None:
    """Make the engine's connections what `db` takes them for."""
    limit = settings.db_statement_timeout_seconds
    event.listen(engine, "handle_error", _notice_killed_connection)
    replace_dead_connections(engine)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _configure_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    if engine.dialect.name == "postgresql":
        event.listen(engine, "connect", Watchdog(limit).watch)
        event.listen(engine, "connect", functools.partial(_configure_postgresql, limit))
    unverified_engines.prepare(engine, settings)
    if engine.dialect.name in {"mysql", "mariadb"}:
        event.listen(engine, "connect", functools.partial(_bound_statements, limit))


def require_known_arguments(engine: Engine) -> None:
    """Raise ValueError when the URL has arguments that its driver would refuse on connecting."""
    _, arguments = engine.dialect.create_connect_args(engine.url)
    if engine.dialect.name == "postgresql":
        try:
            psycopg2_extensions.make_dsn(**arguments)
        except psycopg2.ProgrammingError as exc:
            raise ValueError(str(exc).strip()) from exc
    elif engine.dialect.name in {"mysql", "mariadb"}:
        known = inspect.signature(pymysql.connections.Connection.__init__).parameters
        if unknown := sorted(set(arguments) - set(known)):
            raise ValueError(f"invalid connection option {', '.join(unknown)}")


def connect_arguments(backend: str, settings: Settings) -> dict[str, Any]:
    """Return the driver's arguments that bound every wait for the database."""
    patience = settings.db_statement_timeout_seconds
    if backend == "postgresql":
        timeouts = _KEEPALIVES | {"tcp_user_timeout": round(1000 * patience)}
        given = make_url(settings.db_url).query
        return {
            "connection_factory": WatchedConnection,
            "connect_timeout": math.ceil(settings.connect_timeout_seconds),
        } | {name: timeout for name, timeout in timeouts.items() if name not in given}
    if backend == "sqlite":
        # Autocommit at the driver: `_begin_sqlite` says when a transaction begins.
        return {"timeout": patience, "isolation_level": None}
    if backend in unverified_engines.NAMES:
        return unverified_engines.connect_arguments(backend, settings)
    return {
        "connect_timeout": settings.connect_timeout_seconds,
        # The greeting of a server is awaited by the first, the handshake of TLS by the second; from
        # then on see `_bound_statements`.
        "read_timeout": settings.connect_timeout_seconds,
        "write_timeout": settings.connect_timeout_seconds,
    }


def _configure_sqlite(dbapi_connection: Any, _record: object) -> None:
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        dbapi_connection.execute(f"PRAGMA {pragma}")


def _configure_postgresql(limit: float, dbapi_connection: Any, _record: object) -> None:
    """Get times in UTC, whatever the server's time zone; let the server end slow statements."""
    # Set in a transaction, both would be undone with it.
    dbapi_connection.autocommit = True
    with dbapi_connection.cursor() as cursor:
        cursor.execute(f"SET TIME ZONE 'UTC'; SET statement_timeout = {round(limit * 1000)}")


def _bound_statements(limit: float, dbapi_connection: Any, _record: object) -> None:
    """Wait for statements from now on, no longer for the connection."""
    # PyMySQL has no public way.
    dbapi_connection._read_timeout = limit  # noqa: SLF001
    dbapi_connection._write_timeout = limit  # noqa: SLF001


def _begin_sqlite(connection: Connection) -> None:
    """Take SQLite's one write lock first: upgrading a read lock later fails without waiting."""
    if connection.get_execution_options().get("writes"):
        connection.exec_driver_sql("BEGIN IMMEDIATE")
