"""Create the tables, once: `python -m scripts.create_tables`.

Running it again changes nothing. A table that exists but lacks columns is an error that names
them: this is no migration tool.
"""

import sys

from sqlalchemy import Engine, Table, inspect
from sqlalchemy.exc import SQLAlchemyError

from config import Settings, load_settings
from db import Base, build_engine
from errors import ConfigurationError


class TableError(Exception):
    """The database cannot be reached, or holds a table of ours that lacks columns."""


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
                columns = {column["name"] for column in existing.get_columns(table.name)}
                if missing := sorted(set(table.columns.keys()) - columns):
                    raise TableError(f"Table {table.name} lacks columns: {', '.join(missing)}.")
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


def _create(table: Table, engine: Engine) -> None:
    try:
        table.create(engine)
    except SQLAlchemyError:
        # Another one of us may have been faster.
        if not inspect(engine).has_table(table.name):
            raise


def main() -> int:
    """Create the tables of `DB_URL`; exit status 1 and one sentence when that fails."""
    try:
        lines = create_tables(load_settings())
    except (TableError, ConfigurationError) as exc:
        print(exc, file=sys.stderr)
        return 1
    print("\n".join(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
