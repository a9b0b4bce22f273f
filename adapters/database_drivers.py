"""The set-up of each driver: bounded waits, UTC, Unicode, and transactions."""

import functools
import inspect
import math
from collections.abc import Mapping, Sequence
from typing import Any

import psycopg2
from psycopg2 import extensions as psycopg2_extensions
from sqlalchemy import URL, Connection, Engine, ExceptionContext, event
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from adapters import mysql_sessions, unverified_engines
from adapters.dead_connections import replace_dead_connections
from adapters.silent_postgresql import Watchdog, WatchedConnection
from adapters.sqlite_files import watch_file
from config import Settings
from errors import ConfigurationError

CLOCKS = {
    "postgresql": "SELECT clock_timestamp() AT TIME ZONE 'UTC'",
    "mysql": "SELECT UTC_TIMESTAMP(6)",
    "mariadb": "SELECT UTC_TIMESTAMP(6)",
    **unverified_engines.CLOCKS,
}
"""The statement that reads the server's time in UTC."""

DIRECT_DRIVERS = frozenset({"psycopg2", "pymysql"})
"""The drivers that convert the values of a compiled SELECT themselves."""

SNAPSHOT_LEVELS = {"postgresql": "REPEATABLE READ", **unverified_engines.SNAPSHOT_LEVELS}
"""The isolation level at which all SELECTs of a transaction see the same moment.

On the other engines `_BEGINNINGS` starts a snapshot.
"""

# The statements that start the transactions of `db.writing` and `db.snapshot`. SQLite takes its
# write lock first, because an upgrade from a read lock fails without waiting.
_BEGINNINGS = {
    "sqlite": {"write": ["BEGIN IMMEDIATE"], "snapshot": ["BEGIN"]},
    "postgresql": {"snapshot": ["SET LOCAL idle_in_transaction_session_timeout = 0"]},
    "mysql": mysql_sessions.BEGINNINGS,
    "mariadb": mysql_sessions.BEGINNINGS,
}

# A URL may override these. Keepalives detect within a minute that the server's host is gone.
_POSTGRESQL_DEFAULTS: dict[str, Any] = {
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    # Otherwise OpenSSL asks for the password of an encrypted key on the terminal.
    "sslpassword": "none",
}

# After this time without a statement, the server rolls a write back. Otherwise the locks of a host
# that is gone would stop the sweeper, and writes of a name, for hours.
_IDLE_TRANSACTION_SECONDS = 60

# SQL_ASCII stores any bytes as they are.
_COMPLETE_ENCODINGS = {"UTF8", "SQL_ASCII"}

# Unique violation, serialisation failure, deadlock, lock wait timeout, snapshot conflict.
_UNDONE_SQLSTATES = {"23505", "40001", "40P01"}
_UNDONE_MYSQL_ERRORS = {1062, 1213, 1205, 1020}
_UNDONE_SQLITE_ERRORS = {"SQLITE_CONSTRAINT_UNIQUE", "SQLITE_CONSTRAINT_PRIMARYKEY"}
# Options of PyMySQL whose values are objects, which no URL can hold.
_PYTHON_ONLY_MYSQL_OPTIONS = {"auth_plugin_map", "conv", "cursorclass", "defer_connect"}
# Server shutdown, connection killed (MariaDB, MySQL).
_KILLED_MYSQL_CONNECTION = {1053, 1927, 3169}
_READ_ONLY = {"25006", 1290, 1836}  # PostgreSQL; MySQL and MariaDB
_LOST_MYSQL_CONNECTION = _KILLED_MYSQL_CONNECTION | {2006, 2013, 4031}  # gone, lost, was idle
# From the messages of servers that have ended an idle connection, which mention a timeout as well.
_WAS_IDLE = ("inactivity", "idle-session")


def is_undone(exc: SQLAlchemyError) -> bool:
    """Whether the database reports that it undid the transaction, which may be retried."""
    if not isinstance(exc, DBAPIError) or exc.connection_invalidated or exc.orig is None:
        return False
    error = exc.orig
    return bool(
        getattr(error, "pgcode", None) in _UNDONE_SQLSTATES
        or getattr(error, "sqlite_errorname", None) in _UNDONE_SQLITE_ERRORS
        or (isinstance(next(iter(error.args), None), int) and error.args[0] in _UNDONE_MYSQL_ERRORS)
        or unverified_engines.is_undone(error)
    )


def lost_connection(exc: BaseException | None) -> bool:
    """Whether the error means that the connection is dead, rather than that the server is slow."""
    message = str(exc.orig if isinstance(exc, DBAPIError) else exc)
    timed_out = "timeout" in message or "timed out" in message
    if timed_out and not any(words in message for words in _WAS_IDLE):
        return False
    if isinstance(exc, DBAPIError):
        return exc.connection_invalidated
    if isinstance(exc, psycopg2.Error):  # of a raw cursor
        return isinstance(exc, psycopg2.OperationalError | psycopg2.InterfaceError)
    return bool(exc and exc.args and exc.args[0] in _LOST_MYSQL_CONNECTION)


def require_usable_arguments(engine: Engine) -> None:
    """Raise ValueError if the URL has arguments that its driver or the service cannot use."""
    _, arguments = engine.dialect.create_connect_args(engine.url)
    if engine.dialect.name == "postgresql":
        try:
            psycopg2_extensions.make_dsn(**arguments)
        except psycopg2.ProgrammingError as exc:
            raise ValueError(str(exc).strip()) from exc
    elif engine.dialect.name in {"mysql", "mariadb"}:
        import pymysql  # noqa: PLC0415 - takes 18 MB, for MySQL only

        known = set(inspect.signature(pymysql.connections.Connection.__init__).parameters)
        if unknown := sorted(set(arguments) - (known - _PYTHON_ONLY_MYSQL_OPTIONS)):
            raise ValueError(f"invalid connection option {', '.join(unknown)}")
        try:
            pymysql.connections.Connection(**arguments, defer_connect=True)
        except NotImplementedError as exc:
            raise ValueError(str(exc)) from exc
        charset = engine.url.query.get("charset", "utf8mb4")
        if str(charset).lower() != "utf8mb4":
            raise ValueError(f"charset={charset} cannot hold every name, only utf8mb4 can")


def connect_arguments(url: URL, settings: Settings) -> dict[str, Any]:
    """Return the driver's arguments, which take precedence over those of the URL."""
    backend, limit = url.get_backend_name(), settings.db_statement_timeout_seconds
    if backend == "postgresql":
        defaults = _POSTGRESQL_DEFAULTS | {"tcp_user_timeout": math.ceil(1000 * limit)}
        return {
            "connection_factory": WatchedConnection,
            "connect_timeout": math.ceil(settings.connect_timeout_seconds),
            # Overrides PGCLIENTENCODING and the settings of the role and the database.
            "client_encoding": "utf8",
        } | {name: value for name, value in defaults.items() if name not in url.query}
    if backend == "sqlite":
        # The driver starts no transactions; `_begin` does.
        return {"timeout": limit, "isolation_level": None}
    if backend in unverified_engines.NAMES:
        return unverified_engines.connect_arguments(backend, settings)
    return mysql_sessions.arguments() | {
        "charset": "utf8mb4",
        "use_unicode": True,
        "connect_timeout": settings.connect_timeout_seconds,
        # For the greeting and the TLS handshake. `configure` raises them once connected.
        "read_timeout": settings.connect_timeout_seconds,
        "write_timeout": settings.connect_timeout_seconds,
    }


def prepare(engine: Engine, settings: Settings) -> None:
    """Make the engine set up each new connection as `db` expects it."""
    backend, limit = engine.dialect.name, settings.db_statement_timeout_seconds
    event.listen(engine, "handle_error", _notice_lost_server)
    replace_dead_connections(engine)
    if beginnings := _BEGINNINGS.get(backend):
        event.listen(engine, "begin", functools.partial(_begin, beginnings))
    if backend == "sqlite":
        event.listen(engine, "connect", _configure_sqlite)
        watch_file(engine)
    elif backend == "postgresql":
        event.listen(engine, "connect", Watchdog(limit).watch)
        event.listen(engine, "connect", functools.partial(_configure_postgresql, limit))
    elif backend in unverified_engines.NAMES:
        unverified_engines.prepare(engine, settings)
    else:
        configure = functools.partial(mysql_sessions.configure, limit, _IDLE_TRANSACTION_SECONDS)
        event.listen(engine, "connect", configure)


def _notice_lost_server(context: ExceptionContext) -> None:
    """Make SQLAlchemy discard the pool when its connections have become useless.

    Either an administrator has killed one, or their server has become a replica.
    """
    error = context.original_exception
    code = getattr(error, "pgcode", None) or next(iter(error.args), None)
    if code in _KILLED_MYSQL_CONNECTION | _READ_ONLY:
        context.is_disconnect = True


def _configure_sqlite(dbapi_connection: Any, _record: object) -> None:
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        dbapi_connection.execute(f"PRAGMA {pragma}")


def _begin(beginnings: Mapping[str, Sequence[str]], connection: Connection) -> None:
    """Start the transaction that the options of the connection name; other SELECTs need none."""
    kind = connection.get_execution_options().get("transaction", "")
    for statement in beginnings.get(kind, ()):
        connection.exec_driver_sql(statement)


def _configure_postgresql(limit: float, dbapi_connection: Any, _record: object) -> None:
    """Read times in UTC, and let the server end slow statements and idle transactions.

    Raises ConfigurationError if the encoding of the database cannot hold every name.
    """
    encoding = dbapi_connection.get_parameter_status("server_encoding")
    if encoding and encoding not in _COMPLETE_ENCODINGS:
        dbapi_connection.close()
        raise ConfigurationError(
            f"Configuration: DB_URL names a database with the encoding {encoding}, which cannot "
            "hold every image name; create it with the encoding UTF8."
        )
    # In a transaction, a rollback would undo the settings.
    dbapi_connection.autocommit = True
    with dbapi_connection.cursor() as cursor:
        cursor.execute(
            f"SET TIME ZONE 'UTC'; SET statement_timeout = {math.ceil(limit * 1000)}; "
            f"SET idle_in_transaction_session_timeout = '{_IDLE_TRANSACTION_SECONDS}s'"
        )
