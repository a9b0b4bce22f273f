"""Contract: `db` starts and ends transactions alike on every database, on pooled connections."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress

import pytest
from sqlalchemy import Connection, bindparam, make_url, select
from sqlalchemy.orm import Session

from adapters import database_drivers
from config import Settings
from db import build_engine, build_sessions, fetch, reading, snapshot, writing
from errors import DatabaseUnavailableError
from repositories import images
from tests.conftest import CONTRACT_ENGINES
from tests.support.fault_rig import RAISE
from tests.support.planted_rows import IMAGES, row, uproot

pytestmark = pytest.mark.parametrize("database_url", CONTRACT_ENGINES, indirect=True)

LOCKING = select(IMAGES.c.name).where(IMAGES.c.name == bindparam("name")).with_for_update()


Begin = Callable[[Session], AbstractContextManager[Connection]]


class BreakOffError(Exception):
    """Ends a transaction before its commit."""


@pytest.fixture
def sessions(database_url: str) -> Iterator[tuple[Session, Session]]:
    """Return the sessions of two services; the rows of the tests are deleted afterwards."""
    settings = Settings(db_url=database_url, aws_region="none", aws_s3_bucket="none")
    engines = build_engine(settings), build_engine(settings)
    yield build_sessions(engines[0])(), build_sessions(engines[1])()
    uproot(engines[0], ["first", "second"])
    for engine in engines:
        engine.dispose()


def insert(session: Session, name: str) -> None:
    """Insert an image row."""
    with writing(session) as connection:
        images.insert_image(connection, row(name, 0))


def lock(session: Session, name: str) -> bool:
    """Lock a row for the duration of a transaction; return whether it exists."""
    with writing(session) as connection:
        return images.lock_image(connection, name) is not None


def names(session: Session) -> list[str]:
    """Return the names of all images."""
    return [image.name for image in images.list_images(session, "name", limit=10)]


def test_rollback(sessions: tuple[Session, Session]) -> None:
    """A block that raises leaves neither its rows nor its locks behind."""
    here, there = sessions
    insert(here, "first")
    with suppress(BreakOffError), writing(here) as connection:
        images.lock_image(connection, "first")
        images.insert_image(connection, row("second", 0))
        raise BreakOffError
    assert names(here) == names(there) == ["first"]
    assert lock(there, "first")


def test_reads_hold_nothing(sessions: tuple[Session, Session]) -> None:
    """A SELECT leaves no transaction open on its connection."""
    here, there = sessions
    insert(here, "first")
    assert fetch(here, LOCKING, {"name": "first"})
    assert lock(there, "first")
    with reading(here) as connection:
        assert images.lock_image(connection, "first")
    assert lock(there, "first")


def test_snapshot(sessions: tuple[Session, Session]) -> None:
    """A snapshot sees one moment. The next transaction of its connection sees each commit."""
    here, there = sessions
    insert(here, "first")
    with snapshot(here) as connection:
        before = list(images.read_all(connection))
        insert(there, "second")
        assert list(images.read_all(connection)) == before
    if here.get_bind().dialect.name == "sqlite":  # others cannot write during a transaction
        return
    with writing(here) as connection:
        assert len(list(images.read_all(connection))) == 2
        uproot(there.get_bind().engine, ["second"])
        assert list(images.read_all(connection)) == before


@pytest.mark.parametrize("begin", [reading, snapshot])
def test_cancelled_read(sessions: tuple[Session, Session], begin: Begin) -> None:
    """A read that the server cancels, as a standby does, is no write to be tried again."""
    here, _ = sessions
    backend = here.get_bind().dialect.name.replace("mariadb", "mysql")
    if (cancel := RAISE.get((backend, "serialisation"))) is None:  # SQLite cancels nothing
        return
    with pytest.raises(DatabaseUnavailableError), begin(here) as connection:
        connection.exec_driver_sql(cancel)


# The server raises these errors itself, as one that has become a replica does.
READ_ONLY = {
    "postgresql": "DO $$ BEGIN RAISE 'played' USING ERRCODE = '25006'; END $$",
    "mysql": "SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = 1290",
}
SERVED_BY = {"postgresql": "SELECT pg_backend_pid()", "mysql": "SELECT connection_id()"}


def test_connection_to_a_replica(sessions: tuple[Session, Session]) -> None:
    """A connection to a server that takes no writes any more is replaced by a new one."""
    here, _ = sessions
    backend = here.get_bind().dialect.name.replace("mariadb", "mysql")
    if backend not in READ_ONLY:  # SQLite has no replicas
        return

    def served_by() -> int:
        with reading(here) as connection:
            return int(connection.exec_driver_sql(SERVED_BY[backend]).scalar_one())

    before = served_by()
    assert served_by() == before
    with pytest.raises(DatabaseUnavailableError), writing(here) as connection:
        connection.exec_driver_sql(READ_ONLY[backend])
    assert served_by() != before


def test_vanished_host(
    database_url: str, sessions: tuple[Session, Session], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A transaction whose host has gone is rolled back, which releases its locks."""
    here, _ = sessions
    if here.get_bind().dialect.name not in {"postgresql", "mysql", "mariadb"}:
        return
    insert(here, "first")
    monkeypatch.setattr(database_drivers, "_IDLE_TRANSACTION_SECONDS", 1)
    gone = build_engine(Settings(db_url=database_url, aws_region="none", aws_s3_bucket="none"))
    released = []

    def stall() -> None:
        with writing(build_sessions(gone)()) as connection:
            assert images.lock_image(connection, "first")
            time.sleep(2.5)
            released.append(lock(here, "first"))

    with pytest.raises(DatabaseUnavailableError):
        stall()
    assert released == [True]
    with snapshot(build_sessions(gone)()) as connection:  # holds no locks and may take long
        before = list(images.read_all(connection))
        time.sleep(2.5)
        assert list(images.read_all(connection)) == before
    gone.dispose()


def test_unlimited_selects(database_url: str, sessions: tuple[Session, Session]) -> None:
    """A SELECT returns all of its rows, even if the server limits those of each session."""
    here, _ = sessions
    if here.get_bind().dialect.name not in {"mysql", "mariadb"}:  # others have no such limit
        return
    insert(here, "first")
    insert(here, "second")
    limit = {"init_command": "SET SESSION sql_select_limit = 1"}
    url = make_url(database_url).update_query_dict(limit).render_as_string(hide_password=False)
    limited = build_engine(Settings(db_url=url, aws_region="none", aws_s3_bucket="none"))
    found = images.existing_names(build_sessions(limited)(), ["first", "second"])
    limited.dispose()
    assert found == {"first", "second"}
