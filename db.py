"""The database: its tables, and the only ways to read and write them.

`images` has a row per image and `variants` one per variant. The journal, `pending_objects`, holds
the keys of objects that neither names. `fetch` runs one SELECT, `reading` several, `snapshot`
several that see the same state, and `writing` a transaction, which `retry` repeats if the database
aborts it. Each returns its connection to the pool when it ends, and raises the errors of errors.py
instead of SQLAlchemy's.
"""

import functools
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, TypeVar

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Connection,
    Dialect,
    Engine,
    Identity,
    Index,
    Integer,
    Select,
    String,
    Table,
    column,
    func,
)
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker

from adapters import engines, unverified_engines
from adapters.column_types import ExactText, UTCDateTime
from adapters.database_drivers import (
    CLOCKS,
    DIRECT_DRIVERS,
    SNAPSHOT_LEVELS,
    is_undone,
    lost_connection,
)
from errors import (
    ConfigurationError,
    DatabaseUnavailableError,
    TransactionAbortedError,
    WriteConflictError,
)
from telemetry.request_waits import BackendTimer

WRITE_ATTEMPTS = 20
_Result = TypeVar("_Result")


class Base(DeclarativeBase):
    """The declarative base of the tables."""


_MYSQL_OPTIONS = {
    f"{dialect}_{option}": value
    for dialect in ("mysql", "mariadb")
    for option, value in {"engine": "InnoDB", "charset": "utf8mb4"}.items()
}


class Image(Base):
    """An image: its metadata, and the key of its object."""

    __tablename__ = "images"

    # SQLite generates ids only in a column of exactly the type INTEGER.
    id: Mapped[int] = mapped_column(
        BigInteger().with_variant(Integer, "sqlite"), Identity(), primary_key=True
    )
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
    created_by: Mapped[str | None] = mapped_column(String(64))

    __table_args__ = (
        CheckConstraint("size_bytes > 0", name="images_size_positive"),
        CheckConstraint("width > 0 AND height > 0", name="images_dimensions_positive"),
        CheckConstraint(func.char_length(column("sha256")) == 64, name="images_sha256_hex"),
        CheckConstraint("created_at <= last_updated_at", name="images_times_ordered"),
        Index("images_by_last_update", "last_updated_at", "id"),
        _MYSQL_OPTIONS,
    )


class PendingObject(Base):
    """A journal entry: an object that neither an image nor a variant names.

    State `U` means that it is being uploaded, `D` that it is to be deleted. `claimed_at` is set if
    a late PUT may still land, because the sweeper claimed the upload or `verify --repair` journaled
    the object.
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


class Variant(Base):
    """A variant of the object `original_key`. `spec` identifies it, such as `r2/320.webp`."""

    __tablename__ = "variants"

    original_key: Mapped[str] = mapped_column(ExactText(255), primary_key=True)
    spec: Mapped[str] = mapped_column(ExactText(32), primary_key=True)
    s3_key: Mapped[str] = mapped_column(ExactText(255), unique=True)
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    content_type: Mapped[str] = mapped_column(String(64))
    sha256: Mapped[str] = mapped_column(String(64))
    width: Mapped[int] = mapped_column(Integer)
    height: Mapped[int] = mapped_column(Integer)
    created_at: Mapped[datetime] = mapped_column(UTCDateTime)

    __table_args__ = (_MYSQL_OPTIONS,)


build_engine = engines.build_engine


def build_sessions(engine: Engine) -> sessionmaker[Session]:
    """Build the factory of sessions.

    A session is a request's handle on the database. It holds no connection: each function below
    takes one from the pool while it runs.
    """
    return sessionmaker(engine, expire_on_commit=False)


def fetch(session: Session, statement: Select[Any], parameters: Mapping[str, Any]) -> Sequence[Any]:
    """Run a single SELECT and return its rows. Raises DatabaseUnavailableError.

    Build `statement` once and bind its parameters by name. If the connection is dead, as all in the
    pool are after a failover, the SELECT runs once more on another.
    """
    with BackendTimer("database", "read"):
        try:
            return _fetch(session, statement, parameters)
        except DatabaseUnavailableError as exc:
            if not lost_connection(exc.__cause__):
                raise
        return _fetch(session, statement, parameters)


def _fetch(
    session: Session, statement: Select[Any], parameters: Mapping[str, Any]
) -> Sequence[Any]:
    engine = session.get_bind().engine
    direct = engine.dialect.driver in DIRECT_DRIVERS
    if direct and not engine.get_execution_options().get("traced"):
        return _fetch_by_driver(engine, statement, parameters)
    with _connected(session) as connection:
        return connection.execute(statement, parameters).all()


def _fetch_by_driver(
    engine: Engine, statement: Select[Any], parameters: Mapping[str, Any]
) -> Sequence[Any]:
    """Run a SELECT without SQLAlchemy: a metadata request takes 0.43 ms of CPU instead of 0.60."""
    with _translated_errors(engine):
        connection = engine.raw_connection()
        try:
            cursor = connection.cursor()
            sql, constants = _compiled(statement, engine.dialect)
            cursor.execute(sql, {**constants, **parameters})
            return cursor.fetchall()
        except BaseException as exc:  # the next statement could read the rest of this result
            connection.invalidate(exc)
            raise
        finally:
            connection.close()


@functools.cache
def _compiled(statement: Select[Any], dialect: Dialect) -> tuple[str, Mapping[str, Any]]:
    """Return the SQL of a statement, and its constants."""
    compiled = statement.compile(dialect=dialect)
    return str(compiled), compiled.params


@contextmanager
def reading(session: Session) -> Iterator[Connection]:
    """Yield a connection for SELECTs. Raises DatabaseUnavailableError."""
    with BackendTimer("database", "read"), _connected(session) as connection:
        yield connection


@contextmanager
def writing(session: Session, *, single_statement: bool = False) -> Iterator[Connection]:
    """Run a transaction: commit it, or roll it back if the block raises.

    `single_statement` promises that the block executes one statement, which saves BEGIN and COMMIT,
    two round trips, on PostgreSQL. Raises TransactionAbortedError if the transaction may be
    retried, or DatabaseUnavailableError, after which it may or may not have been committed.
    """
    options: dict[str, Any] = {"transaction": "write"}
    # Only psycopg2 switches from autocommit without a round trip.
    if session.get_bind().dialect.name == "postgresql" and not single_statement:
        options["isolation_level"] = engines.WRITE_LEVEL
    with BackendTimer("database", "write"), _connected(session, **options) as connection:
        yield connection
        connection.commit()


def retry(transaction: Callable[[int], _Result], attempts: int = WRITE_ATTEMPTS) -> _Result:
    """Call `transaction` until it succeeds. Raises WriteConflictError if all attempts abort."""
    for attempt in range(attempts):
        if attempt:
            time.sleep(random.uniform(0, 0.001 * 2 ** min(attempt, 7)))  # noqa: S311
        try:
            return transaction(attempt)
        except TransactionAbortedError as exc:
            cause = exc
    raise WriteConflictError from cause


@contextmanager
def snapshot(session: Session) -> Iterator[Connection]:
    """Yield a connection whose SELECTs all see the same state. Raises DatabaseUnavailableError."""
    backend = session.get_bind().dialect.name
    options: dict[str, Any] = {"transaction": "snapshot"}
    if level := SNAPSHOT_LEVELS.get(backend):
        options |= {"isolation_level": level, "postgresql_readonly": True}
    with _connected(session, **options) as connection:
        yield connection


def lock_rows(statement: Select[Any], table: Table) -> Select[Any]:
    """Return a SELECT that also locks the rows of `table` that it returns."""
    hint = unverified_engines.MSSQL_ROW_LOCK
    return statement.with_for_update().with_hint(table, hint, "mssql")


def read_clock(connection: Connection) -> datetime:
    """Return the time of the database server."""
    now: datetime = connection.exec_driver_sql(CLOCKS[connection.dialect.name]).scalar_one()
    return now.replace(tzinfo=UTC)


@contextmanager
def _connected(session: Session, **options: Any) -> Iterator[Connection]:
    """Yield a pooled connection, and discard it if it dies in use."""
    engine = session.get_bind().engine
    writes = options.get("transaction") == "write"
    with _translated_errors(engine, writes=writes), engine.connect() as connection:
        try:
            yield connection.execution_options(**options) if options else connection
        except engine.dialect.loaded_dbapi.Error as exc:
            # The driver raised this outside of a statement, so the connection is dead.
            connection.invalidate(exc)
            raise


@contextmanager
def _translated_errors(engine: Engine, *, writes: bool = False) -> Iterator[None]:
    """Raise TransactionAbortedError or DatabaseUnavailableError for errors of the database.

    Only writes are retried: for a read, such an error means that a standby cancelled it.
    """
    try:
        yield
    except SQLAlchemyError as exc:
        undone = writes and is_undone(exc)
        raise (TransactionAbortedError if undone else DatabaseUnavailableError) from exc
    except (ConfigurationError, engine.dialect.loaded_dbapi.Error) as exc:
        raise DatabaseUnavailableError from exc
