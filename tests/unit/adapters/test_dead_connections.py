"""A connection that died while idle is replaced; one in frequent use is not pinged."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.pool import QueuePool

from adapters import dead_connections


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    """Return an engine that replaces dead connections, with one pooled connection."""
    engine = create_engine(f"sqlite:///{tmp_path}/a.db", poolclass=QueuePool, pool_size=1)
    dead_connections.replace_dead_connections(engine)
    yield engine
    engine.dispose()


def ended(engine: Engine) -> object:
    """Close the driver's pooled connection and return it."""
    with engine.connect() as connection:
        dbapi = connection.connection.dbapi_connection
        assert dbapi
    dbapi.close()
    return dbapi


def test_replaced(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that died while idle is replaced before its next use."""
    monkeypatch.setattr(dead_connections, "_PING_AFTER_SECONDS", 0)
    dead = ended(engine)
    with engine.connect() as connection:
        assert connection.connection.dbapi_connection is not dead
        assert connection.scalar(text("SELECT 1")) == 1


def test_not_asked(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that was just used is not pinged."""
    monkeypatch.setattr(dead_connections, "_PING_AFTER_SECONDS", 3600)
    dead = ended(engine)
    with engine.connect() as connection:
        assert connection.connection.dbapi_connection is dead
