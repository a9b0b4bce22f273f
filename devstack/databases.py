"""Fresh databases for tests and benchmarks, on every supported engine."""

import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from sqlalchemy import Connection, Engine, create_engine, exc, inspect, text
from sqlalchemy.engine import make_url
from sqlalchemy.pool import NullPool

from config import normalise_db_url

# By dialect: a query for the other connections to this database, and a statement that ends one.
_FIND_OTHERS = {
    "postgresql": "SELECT pid FROM pg_stat_activity"
    " WHERE datname = current_database() AND pid <> pg_backend_pid()",
    "mysql": "SELECT id FROM information_schema.processlist"
    " WHERE db = DATABASE() AND id <> CONNECTION_ID()",
}
_DISCONNECT = {"postgresql": "SELECT pg_terminate_backend(:id)", "mysql": "KILL :id"}


# The service needs readers that writers do not block, and snapshots.
_OPTIONS = {"mssql": ("ALLOW_SNAPSHOT_ISOLATION ON", "READ_COMMITTED_SNAPSHOT ON")}


def engine_for(url: str) -> Engine:
    """Return an engine for a test's own statements. It pools no connections."""
    return create_engine(normalise_db_url(url), poolclass=NullPool)


@contextmanager
def connection(url: str) -> Iterator[Connection]:
    """Yield an autocommitting connection to the database."""
    engine = engine_for(url)
    try:
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as opened:
            yield opened
    finally:
        engine.dispose()


def through(url: str, address: tuple[str, int]) -> str:
    """Return a database URL that goes through the proxy at `address` without TLS."""
    parsed = make_url(url).set(host=address[0], port=address[1])
    if parsed.get_backend_name().startswith("postgres"):
        parsed = parsed.update_query_dict({"sslmode": "disable"})  # the proxy reads the bytes
    return parsed.render_as_string(hide_password=False)


def disconnect_others(url: str) -> None:
    """End every other connection to the database that `url` names."""
    with connection(url) as db:
        if query := _FIND_OTHERS.get(db.dialect.name):
            for number in db.scalars(text(query)).all():
                with suppress(exc.DBAPIError):  # it has ended meanwhile
                    db.execute(text(_DISCONNECT[db.dialect.name]), {"id": number})


@contextmanager
def fresh_database(server_url: str) -> Iterator[str]:
    """Yield the URL of a new, empty database on that server, and drop it afterwards.

    On SQLite this is a new file. On Oracle it is the schema of the URL's user; all its tables are
    dropped.
    """
    server = make_url(server_url)
    if server.get_backend_name() == "sqlite":
        with tempfile.TemporaryDirectory(prefix="sqlite-") as folder:
            yield f"sqlite:///{folder}/images.db"
        return
    if server.get_backend_name() == "oracle":
        with _emptied(server_url):
            yield server_url
        return
    name = f"test_{secrets.token_hex(6)}"
    url = server.set(database=name).render_as_string(hide_password=False)
    with connection(server_url) as db:
        db.exec_driver_sql(f"CREATE DATABASE {name}")
        for option in _OPTIONS.get(db.dialect.name, ()):
            db.exec_driver_sql(f"ALTER DATABASE {name} SET {option}")
    try:
        yield url
    finally:
        disconnect_others(url)
        with connection(server_url) as db:
            if db.dialect.name == "mssql":
                alone = "SET SINGLE_USER WITH ROLLBACK IMMEDIATE"
                db.exec_driver_sql(f"ALTER DATABASE {name} {alone}")
            force = " WITH (FORCE)" if db.dialect.name == "postgresql" else ""
            db.exec_driver_sql(f"DROP DATABASE {name}{force}")


@contextmanager
def _emptied(url: str) -> Iterator[None]:
    """Drop all tables before and after the block."""
    for body in (False, True):
        if body:
            yield
        with connection(url) as db:
            for table in inspect(db).get_table_names():
                db.exec_driver_sql(f"DROP TABLE {table}")
