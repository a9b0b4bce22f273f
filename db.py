"""The database: its tables, the engine, and how it is read and written.

`images` holds one row per image, `variants` one per smaller picture of it. `pending_objects` is the
journal: the keys that neither names, not yet or no longer. `fetch` runs one SELECT, `reading`
several, `snapshot` several that see one moment, `writing` a transaction that changes something.
There is no other way to the rows: each ends its transaction and gives the connection back before it
returns, and translates the errors of SQLAlchemy and the drivers into ours.
"""

import functools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

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
    column,
    func,
)
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker
from sqlalchemy.pool import QueuePool

from adapters import engines, unverified_engines
from adapters.column_types import ExactText, UTCDateTime
from adapters.database_drivers import is_undone, lost_connection
from adapters.unverified_engines import lock_rows
from config import Settings
from errors import CommitUnknownError, DatabaseUnavailableError, TransactionAbortedError
from telemetry.request_metrics import DatabaseTimer

__all__ = [
    "Base",
    "Image",
    "PendingObject",
    "Variant",
    "build_engine",
    "build_sessions",
    "fetch",
    "lent_connections",
    "lock_rows",
    "reading",
    "snapshot",
    "writing",
]


class Base(DeclarativeBase):
    """The declarative base of the tables."""


_MYSQL_OPTIONS = {
    f"{dialect}_{option}": value
    for dialect in ("mysql", "mariadb")
    for option, value in {"engine": "InnoDB", "charset": "utf8mb4"}.items()
}


class Image(Base):
    """One image: what clients are told of it, and the key of its object."""

    __tablename__ = "images"

    # SQLite numbers rows by itself only in a column of exactly the type INTEGER.
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

    __table_args__ = (
        CheckConstraint("size_bytes > 0", name="images_size_positive"),
        CheckConstraint("width > 0 AND height > 0", name="images_dimensions_positive"),
        CheckConstraint(func.char_length(column("sha256")) == 64, name="images_sha256_hex"),
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


class Variant(Base):
    """One derived picture: of the object `original_key`, made by `spec`, such as `320.webp`."""

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


_WRITE_LEVEL = engines.WRITE_LEVEL


def build_engine(settings: Settings) -> Engine:
    """Build the lazily connecting engine: bounded in connections and in every wait.

    How many connections and how dead ones are replaced: adapters/engines.py, dead_connections.py.

    Raises ConfigurationError when the driver that the URL names is not installed, or the URL cannot
    be used.
    """
    return engines.build_engine(settings)


def build_sessions(engine: Engine) -> sessionmaker[Session]:
    """Build the factory of sessions. A session is a request's handle on the database.

    Transactions are run by `reading`, `writing` and `snapshot`, which take a connection for as long
    as they last; the session itself holds none.
    """
    return sessionmaker(engine, expire_on_commit=False)


def lent_connections(engine: Engine) -> int:
    """Return how many connections of the engine's pool are in use."""
    return engine.pool.checkedout() if isinstance(engine.pool, QueuePool) else 0


@contextmanager
def reading(session: Session) -> Iterator[Connection]:
    """Lend a connection for SELECTs. Raises DatabaseUnavailableError."""
    with DatabaseTimer("read"), _connected(session) as connection:
        yield connection


def fetch(session: Session, statement: Select[Any], parameters: Mapping[str, Any]) -> Sequence[Any]:
    """Run one SELECT by itself and return its rows. Raises DatabaseUnavailableError.

    `statement` must be built once, its parameters bound by name. On PostgreSQL it goes straight to
    the driver: through SQLAlchemy's connection a metadata request took 0.60 ms of CPU instead of
    0.43 (16 clients, not pinned). A SELECT whose connection turns out to be dead is run once more
    on another: after a failover every connection of the pool is.
    """
    with DatabaseTimer("read"):
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
    if engine.dialect.name != "postgresql" or engine.get_execution_options().get("traced"):
        with _connected(session) as connection:
            return connection.execute(statement, parameters).all()
    try:
        lent = engine.raw_connection()
        try:
            cursor = lent.cursor()
            sql, constants = _compiled(statement, engine.dialect)
            cursor.execute(sql, {**constants, **parameters})
            return cursor.fetchall()
        except engine.dialect.loaded_dbapi.Error as exc:
            lent.invalidate(exc)
            raise
        finally:
            lent.close()
    except (SQLAlchemyError, engine.dialect.loaded_dbapi.Error) as exc:
        raise DatabaseUnavailableError from exc


@functools.cache
def _compiled(statement: Select[Any], dialect: Dialect) -> tuple[str, Mapping[str, Any]]:
    """Return a statement in SQL, and the values that it has in itself."""
    compiled = statement.compile(dialect=dialect)
    return str(compiled), compiled.params


@contextmanager
def writing(session: Session, *, single_statement: bool = False) -> Iterator[Connection]:
    """Run one transaction and commit it; roll it back when the block raises.

    `single_statement` promises that the block executes just one. Where connections commit by
    themselves (PostgreSQL) this spares BEGIN and COMMIT, two round trips.

    Raises TransactionAbortedError when the database undid it and it may be tried again,
    CommitUnknownError when the connection broke during COMMIT, DatabaseUnavailableError for
    everything else.
    """
    options: dict[str, Any] = {"writes": True}
    # Only psycopg2 switches between the two without a round trip.
    if session.get_bind().dialect.name == "postgresql" and not single_statement:
        options["isolation_level"] = _WRITE_LEVEL
    with DatabaseTimer("write"), _connected(session, **options) as connection:
        yield connection
        _commit(connection)


@contextmanager
def snapshot(session: Session) -> Iterator[Connection]:
    """Lend a connection on which all SELECTs see one moment. Raises DatabaseUnavailableError."""
    backend = session.get_bind().dialect.name
    options: dict[str, Any] = {}
    # SQLite's transactions are snapshots by themselves, once they are begun.
    if backend != "sqlite":
        level = unverified_engines.SNAPSHOT_LEVELS.get(backend, "REPEATABLE READ")
        options = {"isolation_level": level, "postgresql_readonly": True}
    with _connected(session, **options) as connection:
        if backend == "sqlite":
            connection.exec_driver_sql("BEGIN")
        yield connection


@contextmanager
def _connected(session: Session, **options: Any) -> Iterator[Connection]:
    """Lend a connection of the pool and translate the errors of whatever is done with it.

    Raises TransactionAbortedError or DatabaseUnavailableError.
    """
    engine = session.get_bind().engine
    try:
        with engine.connect() as connection:
            try:
                yield connection.execution_options(**options) if options else connection
            except engine.dialect.loaded_dbapi.Error as exc:
                # The driver's own, raised outside of a statement: the connection is dead.
                connection.invalidate(exc)
                raise
    except SQLAlchemyError as exc:
        raise (TransactionAbortedError if is_undone(exc) else DatabaseUnavailableError) from exc
    except engine.dialect.loaded_dbapi.Error as exc:
        raise DatabaseUnavailableError from exc


def _commit(connection: Connection) -> None:
    try:
        connection.commit()
    except SQLAlchemyError as exc:
        if is_undone(exc):
            raise
        raise CommitUnknownError from exc
