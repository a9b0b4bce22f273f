"""Fresh databases for tests and benchmarks, on every supported engine."""

import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from sqlalchemy import Connection, Engine, create_engine, exc, text
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


def engine_for(url: str) -> Engine:
    """Return an engine without a pool, for a test's own statements."""
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
                with suppress(exc.DBAPIError):  # it has already ended
                    db.execute(text(_DISCONNECT[db.dialect.name]), {"id": number})


@contextmanager
def fresh_database(server_url: str) -> Iterator[str]:
    """Yield the URL of a new, empty database on that server, and drop it afterwards.

    On SQLite this is a new file.
    """
    server = make_url(server_url)
    if server.get_backend_name() == "sqlite":
        with tempfile.TemporaryDirectory(prefix="sqlite-") as folder:
            yield f"sqlite:///{folder}/images.db"
        return
    name = f"test_{secrets.token_hex(6)}"
    url = server.set(database=name).render_as_string(hide_password=False)
    with connection(server_url) as db:
        db.exec_driver_sql(f"CREATE DATABASE {name}")
    try:
        yield url
    finally:
        disconnect_others(url)
        with connection(server_url) as db:
            force = " WITH (FORCE)" if db.dialect.name == "postgresql" else ""
            db.exec_driver_sql(f"DROP DATABASE {name}{force}")
