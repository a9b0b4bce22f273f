"""A connection that died while it was idle is replaced; one in use is not asked."""

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
    """Return the driver's pooled connection after ending it."""
    with engine.connect() as connection:
        dbapi = connection.connection.dbapi_connection
        assert dbapi
    dbapi.close()
    return dbapi


def test_replaced(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that was idle and is dead is replaced before its next use."""
    monkeypatch.setattr(dead_connections, "_PING_AFTER_SECONDS", 0)
    dead = ended(engine)
    with engine.connect() as connection:
        assert connection.connection.dbapi_connection is not dead
        assert connection.scalar(text("SELECT 1")) == 1


def test_not_asked(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that was used a moment ago costs no query."""
    monkeypatch.setattr(dead_connections, "_PING_AFTER_SECONDS", 3600)
    dead = ended(engine)
    with engine.connect() as connection:
        assert connection.connection.dbapi_connection is dead
