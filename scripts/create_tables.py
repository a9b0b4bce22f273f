"""Create the tables, and add to them what a newer version needs.

Run it at any time, also while the service runs. It keeps what exists, creates missing tables, adds
missing indexes and nullable columns, and prints what it did. It does not add a column that needs a
value for existing rows, or a unique index: then it names what is missing, leaves that table as it
is, and exits with status 1.
"""

import sys
from collections.abc import Sequence

from sqlalchemy import Engine, MetaData, Table, inspect
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.schema import CreateColumn

from config import Settings, load_settings
from db import Base, build_engine
from errors import ConfigurationError
from scripts.command_line import build_parser, run
from scripts.table_differences import Differences, differences

_INDEX_SECONDS = 6 * 3600.0


class TableError(Exception):
    """The database does not answer, or a table lacks something; the message is one sentence."""


def create_tables(settings: Settings) -> list[str]:
    """Create what is missing; return a line for each. Raises ConfigurationError and TableError."""
    # Building the index of a large table takes longer than a request may.
    patient = {"db_statement_timeout_seconds": _INDEX_SECONDS}
    engine = build_engine(settings.model_copy(update=patient))
    try:
        return [line for table in Base.metadata.sorted_tables for line in _ensure(table, engine)]
    except SQLAlchemyError as exc:
        cause = str(getattr(exc, "orig", None) or exc).strip()
        raise TableError(f"The database refused: {cause}") from exc
    finally:
        engine.dispose()


def _ensure(table: Table, engine: Engine) -> list[str]:
    """Create or complete a table; return a line for it and each addition. Raises TableError."""
    try:
        return _create_or_complete(table, engine)
    except SQLAlchemyError:
        # Another process may have added it first; otherwise this fails again.
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
        with engine.begin() as connection:
            connection.exec_driver_sql(f"ALTER TABLE {table.name} ADD COLUMN {described}")
    copied = {index.name: index for index in table.to_metadata(MetaData()).indexes}
    for index in lacking.indexes:
        # Do not block uploads. MySQL and MariaDB do not by default.
        copied[index.name].dialect_kwargs["postgresql_concurrently"] = True
        copied[index.name].create(engine)


def main(arguments: Sequence[str] | None = None) -> int:
    """Create the tables of DB_URL and print what was done; return the exit status."""
    build_parser("create_tables", __doc__).parse_args(arguments)
    try:
        lines = create_tables(load_settings())
    except (TableError, ConfigurationError) as exc:
        print(exc, file=sys.stderr)
        return 1
    print("\n".join(lines))
    return 0


if __name__ == "__main__":
    run(main)
