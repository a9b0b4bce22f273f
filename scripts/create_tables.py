"""Create the tables that do not exist yet.

Running it again changes nothing. A table that exists but lacks columns or unique indexes is an
error that names them: this is no migration tool.
"""

import argparse
import sys
from collections.abc import Sequence

from sqlalchemy import Engine, Inspector, Table, UniqueConstraint, inspect
from sqlalchemy.exc import SQLAlchemyError

from config import Settings, load_settings
from db import Base, build_engine
from errors import ConfigurationError


class TableError(Exception):
    """The database cannot be reached, or a table in it lacks something; one sentence says what."""


def create_tables(settings: Settings) -> list[str]:
    """Create the tables that do not exist yet; return a line for each, saying what was done.

    Raises TableError with one sentence.
    """
    engine = build_engine(settings)
    try:
        existing = inspect(engine)
        present = set(existing.get_table_names())
        lines = []
        for table in Base.metadata.sorted_tables:
            if table.name in present:
                _check(table, existing)
                lines.append(f"Table {table.name} exists.")
            else:
                _create(table, engine)
                lines.append(f"Table {table.name} created.")
        return lines
    except SQLAlchemyError as exc:
        cause = str(getattr(exc, "orig", None) or exc).strip()
        raise TableError(f"The database does not do what is asked: {cause}") from exc
    finally:
        engine.dispose()


def _check(table: Table, existing: Inspector) -> None:
    """Raise TableError when the table in the database lacks columns or unique indexes."""
    columns = {column["name"] for column in existing.get_columns(table.name)}
    if missing := sorted(set(table.columns.keys()) - columns):
        raise TableError(f"Table {table.name} lacks columns: {', '.join(missing)}.")
    if missing := sorted(map(" + ".join, _unique(table) - _unique_in(existing, table.name))):
        raise TableError(f"Table {table.name} lacks unique indexes on: {', '.join(missing)}.")


def _unique(table: Table) -> set[tuple[str, ...]]:
    """Return the columns of which the write protocol needs that no two rows are alike."""
    constraints = [c for c in table.constraints if isinstance(c, UniqueConstraint)]
    return {tuple(c.columns.keys()) for c in (table.primary_key, *constraints)}


def _unique_in(existing: Inspector, table: str) -> set[tuple[str, ...]]:
    """Return the columns of which the database ensures that no two rows are alike."""
    indexes = [
        index["column_names"]
        for index in existing.get_indexes(table)
        # An index on some of the rows, or on the beginning of a value, ensures something else.
        if index["unique"]
        and not any(
            option.endswith(("_where", "_length")) for option in index.get("dialect_options", {})
        )
    ]
    constraints = [
        constraint["column_names"]
        for constraint in existing.get_unique_constraints(table)
        if "duplicates_index" not in constraint
    ]
    primary_key = existing.get_pk_constraint(table)["constrained_columns"]
    found: list[Sequence[str | None]] = [*indexes, *constraints, primary_key]
    return {tuple(str(column) for column in columns) for columns in found}


def _create(table: Table, engine: Engine) -> None:
    try:
        table.create(engine)
    except SQLAlchemyError:
        # Another process may have been faster.
        if not inspect(engine).has_table(table.name):
            raise


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
