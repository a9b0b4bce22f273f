"""Tables as a former version left them."""

from sqlalchemy import text

from devstack.databases import connection


def drop_index(url: str, index: str, table: str) -> None:
    """Take an index away from a table."""
    with connection(url) as db:
        of_table = f" ON {table}" if db.dialect.name in {"mysql", "mariadb"} else ""
        db.execute(text(f"DROP INDEX {index}{of_table}"))
