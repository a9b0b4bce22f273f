"""What each database needs of its driver: bounded waits, UTC, the begin of transactions, pings."""

import functools
import inspect
import select as sockets
import time
from typing import Any

import psycopg2
import pymysql
from psycopg2 import extensions as psycopg2_extensions
from sqlalchemy import Connection, Dialect, Engine, ExceptionContext, event
from sqlalchemy.exc import DBAPIError, DisconnectionError, SQLAlchemyError
from sqlalchemy.pool import ConnectionPoolEntry

from config import Settings

# A connection that was used within this time is taken to be alive.
_PAUSE_SECONDS = 1.0
# Nor is one that was used within this time looked at.
_GLANCE_SECONDS = 0.05

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
    return bool(
        getattr(error, "pgcode", None) in _UNDONE_SQLSTATES
        or getattr(error, "sqlite_errorname", None) in _UNDONE_SQLITE_ERRORS
        or (error is not None and error.args[:1] and error.args[0] in _UNDONE_MYSQL_ERRORS)
    )


def lost_connection(exc: BaseException | None) -> bool:
    """Whether the error says that the connection is dead, not that the statement failed."""
    if isinstance(exc, psycopg2.Error):  # of a raw cursor
        return isinstance(exc, psycopg2.OperationalError | psycopg2.InterfaceError) and (
            "timeout" not in str(exc)
        )
    return isinstance(exc, DBAPIError) and exc.connection_invalidated


def _notice_killed_connection(context: ExceptionContext) -> None:
    """Let SQLAlchemy throw away a connection that an administrator ended, and the pool with it."""
    arguments: tuple[Any, ...] = context.original_exception.args
    if arguments[:1] and arguments[0] in _KILLED_MYSQL_CONNECTION:
        context.is_disconnect = True


def prepare(engine: Engine) -> None:
    """Make the engine's connections what `db` takes them for."""
    event.listen(engine, "checkin", _note_return)
    event.listen(engine, "handle_error", _notice_killed_connection)
    event.listen(engine, "checkout", functools.partial(_replace_dead_connection, engine.dialect))
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _configure_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    if engine.dialect.name == "postgresql":
        event.listen(engine, "connect", _configure_postgresql)
        psycopg2_extensions.set_wait_callback(_wait_with_timeout)


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
    if backend == "postgresql":
        return {"connection_factory": _bounded_connection(settings)}
    if backend == "sqlite":
        # Autocommit at the driver: `_begin_sqlite` says when a transaction begins.
        return {"timeout": settings.db_statement_timeout_seconds, "isolation_level": None}
    return {
        "connect_timeout": settings.connect_timeout_seconds,
        "read_timeout": settings.db_statement_timeout_seconds,
        "write_timeout": settings.db_statement_timeout_seconds,
    }


def _configure_sqlite(dbapi_connection: Any, _record: object) -> None:
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        dbapi_connection.execute(f"PRAGMA {pragma}")


def _configure_postgresql(dbapi_connection: Any, _record: object) -> None:
    """Get times in UTC, whatever the server's time zone; from now on wait for statements."""
    dbapi_connection.longest_wait = dbapi_connection.longest_statement
    # Set in a transaction, it would be undone with it.
    dbapi_connection.autocommit = True
    with dbapi_connection.cursor() as cursor:
        cursor.execute("SET TIME ZONE 'UTC'")


def _begin_sqlite(connection: Connection) -> None:
    """Take SQLite's one write lock first: upgrading a read lock later fails without waiting."""
    if connection.get_execution_options().get("writes"):
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def _bounded_connection(settings: Settings) -> type[psycopg2_extensions.connection]:
    """Make psycopg2's connection class with the longest wait for the server in it."""

    class BoundedConnection(psycopg2_extensions.connection):
        longest_wait = settings.connect_timeout_seconds
        longest_statement = settings.db_statement_timeout_seconds

    return BoundedConnection


_CONNECTED = {psycopg2_extensions.STATUS_READY, psycopg2_extensions.STATUS_BEGIN}


def _wait_with_timeout(connection: Any) -> None:
    """Wait for PostgreSQL, but not for ever.

    libpq has no timeout for a statement whose server is silent (frozen host, lost network), so
    psycopg2 lets us do the waiting (psycopg docs, "Support for coroutine libraries"). Costs no
    measurable CPU.
    """
    while (state := connection.poll()) != psycopg2_extensions.POLL_OK:
        fd = connection.fileno()
        poller = sockets.poll()
        poller.register(
            fd, sockets.POLLIN if state == psycopg2_extensions.POLL_READ else sockets.POLLOUT
        )
        # The callback is the process's: connections that are not ours wait as long as they like.
        longest_wait = getattr(connection, "longest_wait", None)
        if not poller.poll(longest_wait and longest_wait * 1000):
            # While connecting, nobody else closes it; later psycopg2 does, and is in its way here.
            if connection.status not in _CONNECTED:
                connection.close()
            raise psycopg2.OperationalError("timeout: the server did not answer")


def _note_return(_connection: object, record: ConnectionPoolEntry) -> None:
    record.info["returned"] = time.monotonic()


def _replace_dead_connection(
    dialect: Dialect, connection: Any, record: ConnectionPoolEntry, _proxy: object
) -> None:
    """Make the pool replace a connection that died while it lay unused.

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
