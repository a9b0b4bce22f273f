"""Brings tables into the state of an earlier version."""

from sqlalchemy import text

from devstack.databases import connection


def drop_index(url: str, index: str, table: str) -> None:
    """Drop an index of a table."""
    with connection(url) as db:
        of_table = f" ON {table}" if db.dialect.name in {"mysql", "mariadb"} else ""
        db.execute(text(f"DROP INDEX {index}{of_table}"))
