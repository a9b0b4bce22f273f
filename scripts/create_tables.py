"""Create the tables, and add to them what a newer version needs.

Safe at any time, also while the service runs, and again: what is there is left as it is. It creates
tables, adds columns that may be empty and indexes, and says what it did. What would need values for
rows that are there, or might be refused by them (columns without a default, unique indexes), is an
error that names it, and then nothing was changed in that table.
"""

import argparse
import sys
from collections.abc import Sequence

from sqlalchemy import Engine, MetaData, Table, inspect
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.schema import CreateColumn

from config import Settings, load_settings
from db import Base, build_engine
from errors import ConfigurationError
from scripts.table_differences import Differences, differences

_INDEX_SECONDS = 6 * 3600.0


class TableError(Exception):
    """The database cannot be reached, or a table in it lacks something; one sentence says what."""


def create_tables(settings: Settings) -> list[str]:
    """Create what does not exist yet; return a line for each table, and for what was added.

    Raises TableError with one sentence.
    """
    # An index of a large table takes longer than a request may.
    patient = {"db_statement_timeout_seconds": _INDEX_SECONDS}
    engine = build_engine(settings.model_copy(update=patient))
    try:
        present = set(inspect(engine).get_table_names())
        lines = []
        for table in Base.metadata.sorted_tables:
            if table.name in present:
                lines += [f"Table {table.name} exists.", *_complete(table, engine)]
            else:
                _create(table, engine)
                lines.append(f"Table {table.name} created.")
        return lines
    except SQLAlchemyError as exc:
        cause = str(getattr(exc, "orig", None) or exc).strip()
        raise TableError(f"The database does not do what is asked: {cause}") from exc
    finally:
        engine.dispose()


def _create(table: Table, engine: Engine) -> None:
    try:
        table.create(engine)
    except SQLAlchemyError:
        # Another process may have been faster.
        if not inspect(engine).has_table(table.name):
            raise


def _complete(table: Table, engine: Engine) -> list[str]:
    """Add to a table what it lacks; return a line for each. Raises TableError where that fails."""
    lacking = differences(table, inspect(engine))
    if lacking.impossible:
        raise TableError(f"Table {table.name} lacks columns: {', '.join(lacking.impossible)}.")
    if lacking.unique:
        raise TableError(
            f"Table {table.name} lacks unique indexes on: {', '.join(lacking.unique)}."
        )
    try:
        _add(table, lacking, engine)
    except SQLAlchemyError:
        # Another process may have been faster.
        if differences(table, inspect(engine)).sentence():
            raise
    columns = [f"Column {table.name}.{column.name} added." for column in lacking.columns]
    return columns + [f"Index {index.name} added." for index in lacking.indexes]


def _add(table: Table, lacking: Differences, engine: Engine) -> None:
    for column in lacking.columns:
        described = CreateColumn(column).compile(dialect=engine.dialect)
        with engine.begin() as connection:
            connection.exec_driver_sql(f"ALTER TABLE {table.name} ADD COLUMN {described}")
    copied = {index.name: index for index in table.to_metadata(MetaData()).indexes}
    for index in lacking.indexes:
        # Uploads go on meanwhile; MySQL and MariaDB let them by themselves.
        copied[index.name].dialect_kwargs["postgresql_concurrently"] = True
        copied[index.name].create(engine)


def main(arguments: Sequence[str] | None = None) -> int:
    """Create the tables of `DB_URL`; exit status 1 and one sentence when that fails."""
    parser = argparse.ArgumentParser(prog="python -m scripts.create_tables", description=__doc__)
    parser.parse_args(arguments)
    try:
        lines = create_tables(load_settings())
    except (TableError, ConfigurationError) as exc:
        print(exc, file=sys.stderr)
        return 1
    print("\n".join(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
