"""The database: its two tables, the engine, and the two kinds of transaction.

`images` holds one row per image. `pending_objects` is the journal: the keys that no image row
names, yet or any more. `reading(session)` and `writing(session)` are the only ways to them: both
end the transaction and give the connection back before they return, and both translate the
errors of SQLAlchemy and the drivers into ours.
"""

import functools
import select as sockets
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import psycopg2
from psycopg2 import extensions as psycopg2_extensions
from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Connection,
    DateTime,
    Dialect,
    Engine,
    Index,
    Integer,
    Select,
    String,
    create_engine,
    event,
    make_url,
)
from sqlalchemy.dialects import mysql
from sqlalchemy.exc import DBAPIError, DisconnectionError, SQLAlchemyError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker
from sqlalchemy.pool import ConnectionPoolEntry
from sqlalchemy.types import TypeDecorator, TypeEngine

from config import Settings
from errors import CommitUnknown, ConfigurationError, DatabaseUnavailable, TransactionAborted

# A connection that was used within this time is taken to be alive.
_PAUSE_SECONDS = 1.0


class ExactText(TypeDecorator[str]):
    """Text that compares byte for byte on every engine.

    PostgreSQL's "C" collation also makes prefixes and keyset pages index-backed. The usual
    collations of MySQL and MariaDB merge case, accents, trailing spaces and all emoji.
    """

    impl = String
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[str]:
        """Choose the collation."""
        length = self.impl_instance.length  # type: ignore[attr-defined]
        if dialect.name == "postgresql":
            return dialect.type_descriptor(String(length, collation="C"))
        if dialect.name in {"mysql", "mariadb"}:
            on_mariadb = getattr(dialect, "is_mariadb", False)
            collation = "utf8mb4_nopad_bin" if on_mariadb else "utf8mb4_0900_bin"
            return dialect.type_descriptor(
                mysql.VARCHAR(length, charset="utf8mb4", collation=collation)
            )
        return dialect.type_descriptor(String(length))


class UTCDateTime(TypeDecorator[datetime]):
    """A moment in UTC with microseconds; always aware in Python."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[datetime]:
        """Choose the type with microseconds."""
        if dialect.name in {"mysql", "mariadb"}:
            return dialect.type_descriptor(mysql.DATETIME(fsp=6))
        return dialect.type_descriptor(DateTime(timezone=True))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Turn an aware moment into what the engine stores: UTC."""
        if value is None or dialect.name == "postgresql":
            return value
        return value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(
        self,
        value: datetime | None,
        dialect: Dialect,  # noqa: ARG002
    ) -> datetime | None:
        """Turn what the engine stored into an aware moment in UTC."""
        if value is None:
            return None
        return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)


class Base(DeclarativeBase):
    """The declarative base of both tables."""


_MYSQL_OPTIONS = {
    f"{dialect}_{option}": value
    for dialect in ("mysql", "mariadb")
    for option, value in {"engine": "InnoDB", "charset": "utf8mb4"}.items()
}


class Image(Base):
    """One image: what clients are told of it, and the key of its object."""

    __tablename__ = "images"

    # SQLite numbers rows by itself only in a column of exactly the type INTEGER.
    id: Mapped[int] = mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True)
    name: Mapped[str] = mapped_column(ExactText(255), unique=True)
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    extension: Mapped[str] = mapped_column(String(16))
    content_type: Mapped[str] = mapped_column(String(64))
    sha256: Mapped[str] = mapped_column(String(64))
    width: Mapped[int] = mapped_column(Integer)
    height: Mapped[int] = mapped_column(Integer)
    s3_key: Mapped[str] = mapped_column(ExactText(255), unique=True)
    created_at: Mapped[datetime] = mapped_column(UTCDateTime)
    last_updated_at: Mapped[datetime] = mapped_column(UTCDateTime)

    __table_args__ = (
        CheckConstraint("size_bytes > 0", name="images_size_positive"),
        CheckConstraint("width > 0 AND height > 0", name="images_dimensions_positive"),
        CheckConstraint("length(sha256) = 64", name="images_sha256_hex"),
        CheckConstraint("created_at <= last_updated_at", name="images_times_ordered"),
        Index("images_by_last_update", "last_updated_at", "id"),
        _MYSQL_OPTIONS,
    )


class PendingObject(Base):
    """One journal entry: an object that no image row names, and what becomes of it.

    State `U`: being uploaded; `D`: to be deleted. `claimed_at` is set when a sweeper took the
    key from an upload that did not finish.
    """

    __tablename__ = "pending_objects"

    s3_key: Mapped[str] = mapped_column(ExactText(255), primary_key=True)
    state: Mapped[str] = mapped_column(String(1))
    created_at: Mapped[datetime] = mapped_column(UTCDateTime)
    claimed_at: Mapped[datetime | None] = mapped_column(UTCDateTime)

    __table_args__ = (
        CheckConstraint("state IN ('U', 'D')", name="pending_objects_state"),
        Index("pending_objects_by_age", "created_at", "s3_key"),
        _MYSQL_OPTIONS,
    )


# --- engine and sessions ------------------------------------------------------------------------


def build_engine(settings: Settings) -> Engine:
    """Build the lazily connecting engine: bounded in connections and in every wait.

    Raises ConfigurationError when the driver that the URL names is not installed.
    """
    url = make_url(settings.db_url)
    backend = url.get_backend_name()
    options: dict[str, Any] = {
        "connect_args": _connect_arguments(backend, settings),
        # One connection per thread, so that no thread ever waits for the pool.
        "pool_size": settings.concurrency,
        "max_overflow": 0,
        "pool_timeout": settings.db_connect_timeout,
        "pool_recycle": 1800,
    }
    if backend == "postgresql":
        # A lone SELECT needs no BEGIN and ROLLBACK around it; `writing` asks for a transaction.
        options["isolation_level"] = "AUTOCOMMIT"
    elif backend == "mysql":
        options["isolation_level"] = "READ COMMITTED"
    try:
        engine = create_engine(url, **options)
    except (ImportError, SQLAlchemyError) as exc:
        raise ConfigurationError(
            f"Configuration: DB_URL names {url.drivername}, whose driver is not installed: {exc}."
        ) from exc
    event.listen(engine, "checkin", _note_return)
    event.listen(engine, "checkout", functools.partial(_ping_after_pause, engine.dialect))
    if backend == "sqlite":
        event.listen(engine, "connect", _configure_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    if backend == "postgresql":
        event.listen(engine, "connect", _configure_postgresql)
        psycopg2_extensions.set_wait_callback(_wait_with_timeout)
    return engine


def build_sessions(engine: Engine) -> sessionmaker[Session]:
    """Build the factory of sessions; a session connects only when a transaction begins."""
    # Only psycopg2 switches between the two without a round trip.
    transactional = engine.dialect.name == "postgresql"
    write_options = {"isolation_level": "READ COMMITTED"} if transactional else {}
    # One list for all sessions: what `queries.random_image` remembers from one to the next.
    info = {"engine": engine, "write_options": write_options, "id_bounds": [(1, 1)]}
    return sessionmaker(engine, info=info, expire_on_commit=False)


@contextmanager
def reading(session: Session) -> Iterator[Connection]:
    """Lend a connection for SELECTs. Raises DatabaseUnavailable."""
    try:
        with session:
            yield session.connection(execution_options={"read_only": True})
    except SQLAlchemyError as exc:
        raise DatabaseUnavailable from exc


def fetch(
    session: Session, statement: Select[Any], parameters: Mapping[str, Any]
) -> Sequence[Sequence[Any]]:
    """Run one SELECT by itself and return its rows. Raises DatabaseUnavailable.

    `statement` must be built once, its parameters bound by name. On PostgreSQL it is compiled
    once and then goes straight to the driver: 64 us of CPU instead of the 190 us of `reading`.
    """
    engine: Engine = session.info["engine"]
    if engine.dialect.name != "postgresql":
        with reading(session) as connection:
            return connection.execute(statement, parameters).all()
    try:
        lent = engine.raw_connection()
        try:
            cursor = lent.cursor()
            cursor.execute(_compiled(statement, engine.dialect), parameters)
            rows = cursor.fetchall()
        except psycopg2.Error as exc:
            lent.invalidate(exc)
            raise
        finally:
            lent.close()
        return rows
    except (SQLAlchemyError, psycopg2.Error) as exc:
        raise DatabaseUnavailable from exc


@functools.cache
def _compiled(statement: Select[Any], dialect: Dialect) -> str:
    return str(statement.compile(dialect=dialect))


@contextmanager
def writing(session: Session) -> Iterator[Connection]:
    """Run one transaction and commit it; roll it back when the block raises.

    Raises TransactionAborted when the database undid it and it may be tried again, CommitUnknown
    when the connection broke during COMMIT, DatabaseUnavailable for everything else.
    """
    try:
        with session:
            yield session.connection(execution_options=session.info["write_options"])
            _commit(session)
    except SQLAlchemyError as exc:
        raise (TransactionAborted if _is_undone(exc) else DatabaseUnavailable) from exc


def _commit(session: Session) -> None:
    try:
        session.commit()
    except SQLAlchemyError as exc:
        if _is_undone(exc):
            raise
        raise CommitUnknown from exc


# Unique violation, serialisation failure, deadlock, lock wait timeout, snapshot changed.
_UNDONE_SQLSTATES = {"23505", "40001", "40P01"}
_UNDONE_MYSQL_ERRORS = {1062, 1213, 1205, 1020}
_UNDONE_SQLITE_ERRORS = {"SQLITE_CONSTRAINT_UNIQUE", "SQLITE_CONSTRAINT_PRIMARYKEY"}


def _is_undone(exc: SQLAlchemyError) -> bool:
    """Whether the database itself says that the transaction did not happen and may be retried."""
    if not isinstance(exc, DBAPIError) or exc.connection_invalidated:
        return False
    error = exc.orig
    return bool(
        getattr(error, "pgcode", None) in _UNDONE_SQLSTATES
        or getattr(error, "sqlite_errorname", None) in _UNDONE_SQLITE_ERRORS
        or (error is not None and error.args[:1] and error.args[0] in _UNDONE_MYSQL_ERRORS)
    )


# --- connections that died in the pool ----------------------------------------------------------


def _note_return(_connection: object, record: ConnectionPoolEntry) -> None:
    record.info["returned"] = time.monotonic()


def _ping_after_pause(
    dialect: Dialect, connection: Any, record: ConnectionPoolEntry, _proxy: object
) -> None:
    """Make the pool replace a connection that died while it lay unused for a while.

    SQLAlchemy's own pre-ping asks every time, which is a quarter of the CPU of a metadata request.
    """
    returned = record.info.get("returned")
    if returned is None or time.monotonic() - returned < _PAUSE_SECONDS:
        return
    try:
        alive = dialect.do_ping(connection)
    except dialect.loaded_dbapi.Error:
        alive = False
    if not alive:
        raise DisconnectionError


# --- what differs between the engines -------------------------------------------------------------


def _connect_arguments(backend: str, settings: Settings) -> dict[str, Any]:
    if backend == "postgresql":
        return {"connection_factory": _bounded_connection(settings)}
    if backend == "sqlite":
        # Autocommit at the driver: `_begin_sqlite` says when a transaction begins.
        return {"timeout": settings.db_statement_timeout, "isolation_level": None}
    return {
        "connect_timeout": settings.db_connect_timeout,
        "read_timeout": settings.db_statement_timeout,
        "write_timeout": settings.db_statement_timeout,
    }


def _configure_sqlite(dbapi_connection: Any, _record: object) -> None:
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        dbapi_connection.execute(f"PRAGMA {pragma}")


def _configure_postgresql(dbapi_connection: Any, _record: object) -> None:
    """Get times in UTC, whatever the server's time zone."""
    # Set in a transaction, it would be undone with it.
    dbapi_connection.autocommit = True
    with dbapi_connection.cursor() as cursor:
        cursor.execute("SET TIME ZONE 'UTC'")


def _begin_sqlite(connection: Connection) -> None:
    """Take SQLite's one write lock first: upgrading a read lock later fails without waiting."""
    if not connection.get_execution_options().get("read_only"):
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def _bounded_connection(settings: Settings) -> type[psycopg2_extensions.connection]:
    """Make psycopg2's connection class with the longest wait for the server in it."""

    class BoundedConnection(psycopg2_extensions.connection):
        longest_wait = max(settings.db_connect_timeout, settings.db_statement_timeout)

    return BoundedConnection


def _wait_with_timeout(connection: Any) -> None:
    """Wait for PostgreSQL, but not for ever.

    libpq has no timeout for a statement whose server is silent (frozen host, lost network), so
    psycopg2 lets us do the waiting (psycopg docs, "Support for coroutine libraries"). Costs no
    measurable CPU. When it raises, psycopg2 closes the connection.
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
            raise psycopg2.OperationalError("timeout: the server did not answer")
