"""Create the tables, and add to them what a newer version needs.

Run it at any time, even while the service runs. It keeps existing tables and their rows, creates
missing tables, adds missing indexes and nullable columns, and prints what it did. It cannot add a
unique index, or a column that needs a value for existing rows: it then names what is missing,
leaves that table unchanged, and exits with status 1. On PostgreSQL a second run waits while another
adds an index.
"""

import time
from collections.abc import Sequence
from contextlib import suppress

from sqlalchemy import Engine, Index, MetaData, Table, inspect, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.schema import CreateColumn

from config import Settings, load_settings
from db import Base, build_engine
from errors import ConfigurationError
from scripts.command_line import build_parser, failed, run
from scripts.table_differences import Differences, differences

_INDEX_SECONDS = 6 * 3600.0
_RACES = 2  # that one run may lose for each table: for a column and then for an index
# While an ALTER TABLE waits for a lock, all later statements on the table queue behind it. So each
# attempt waits for one second only, and lets the queued statements run before the next one.
_BRIEF_LOCKS = {
    "postgresql": "SET lock_timeout = '1s'",
    **dict.fromkeys(("mysql", "mariadb"), "SET lock_wait_timeout = 1"),
}
_LOCK_ATTEMPTS, _LOCK_PAUSE_SECONDS = 300, 3.0
_LOCKED = {"55P03", 1205}  # PostgreSQL; MySQL and MariaDB
# PostgreSQL
_TRY_LOCK = text("SELECT pg_try_advisory_lock(hashtext('image-api: create_tables'))")
_IS_INTERRUPTED = text("SELECT NOT indisvalid FROM pg_index WHERE indexrelid = to_regclass(:name)")


class TableError(Exception):
    """A table lacks something that cannot be added; the message is one sentence."""


def create_tables(settings: Settings) -> list[str]:
    """Create what is missing and return a line for each table and addition.

    Raises ConfigurationError, TableError, and SQLAlchemyError if the database refuses.
    """
    # Building the index of a large table takes longer than a request may.
    patient = {"db_statement_timeout_seconds": _INDEX_SECONDS}
    engine = build_engine(settings.model_copy(update=patient))
    try:
        return [line for table in Base.metadata.sorted_tables for line in _ensure(table, engine)]
    finally:
        engine.dispose()


def _ensure(table: Table, engine: Engine) -> list[str]:
    """Create or complete a table; return a line for it and for each addition."""
    for _ in range(_RACES):
        # Another process may have been faster. Any other error occurs again.
        with suppress(SQLAlchemyError):
            return _create_or_complete(table, engine)
    return _create_or_complete(table, engine)


def _create_or_complete(table: Table, engine: Engine) -> list[str]:
    existing = inspect(engine)
    if not existing.has_table(table.name):
        table.create(engine)
        return [f"Table {table.name} created."]
    lacking = differences(table, existing)
    if lacking.impossible:
        raise TableError(f"Table {table.name} lacks columns: {', '.join(lacking.impossible)}.")
    if lacking.unique:
        raise TableError(
            f"Table {table.name} lacks unique indexes on: {', '.join(lacking.unique)}."
        )
    _add(table, lacking, engine)
    columns = [f"Column {table.name}.{column.name} added." for column in lacking.columns]
    indexes = [f"Index {index.name} added." for index in lacking.indexes]
    return [f"Table {table.name} exists.", *columns, *indexes]


def _add(table: Table, lacking: Differences, engine: Engine) -> None:
    for column in lacking.columns:
        described = CreateColumn(column).compile(dialect=engine.dialect)
        _alter(f"ALTER TABLE {table.name} ADD COLUMN {described}", engine)
    copied = {index.name: index for index in table.to_metadata(MetaData()).indexes}
    for index in lacking.indexes:
        add = _add_concurrently if engine.dialect.name == "postgresql" else Index.create
        add(copied[index.name], engine)


def _add_concurrently(index: Index, engine: Engine) -> None:
    """Create an index on PostgreSQL while uploads go on; other databases do not block them.

    First drops an index of the same name whose creation was interrupted. An index that is still
    being created looks like that, so this process alone may do so.
    """
    index.dialect_kwargs["postgresql_concurrently"] = True
    with engine.connect() as connection:
        connection.detach()  # the lock ends with the connection
        # Does not wait inside PostgreSQL: the creation of an index waits for older statements, so
        # the two would deadlock.
        while not connection.scalar(_TRY_LOCK):
            time.sleep(_LOCK_PAUSE_SECONDS)
        if connection.scalar(_IS_INTERRUPTED, {"name": index.name}):
            index.drop(connection)
        index.create(connection)


def _alter(statement: str, engine: Engine) -> None:
    """Change a table once no transaction uses it, without delaying the service."""
    for attempts_left in reversed(range(_LOCK_ATTEMPTS)):
        try:
            with engine.connect() as connection:
                connection.detach()  # the setting ends with the connection
                if brief := _BRIEF_LOCKS.get(engine.dialect.name):
                    connection.exec_driver_sql(brief)
                connection.exec_driver_sql(statement)
                connection.commit()
        except DBAPIError as exc:
            if not attempts_left or not _is_locked(exc):
                raise
            time.sleep(_LOCK_PAUSE_SECONDS)
        else:
            return


def _is_locked(exc: DBAPIError) -> bool:
    """Return whether the statement timed out waiting for a lock."""
    arguments = exc.orig.args if exc.orig else ()
    return bool(_LOCKED & {getattr(exc.orig, "pgcode", None), *arguments[:1]})


def main(arguments: Sequence[str] | None = None) -> int:
    """Create the tables of DB_URL and print what was done; return the exit status."""
    build_parser("create_tables", __doc__).parse_args(arguments)
    try:
        lines = create_tables(load_settings())
    except (TableError, ConfigurationError, SQLAlchemyError) as exc:
        return failed(exc)
    print("\n".join(lines))
    return 0


if __name__ == "__main__":
    run(main)
