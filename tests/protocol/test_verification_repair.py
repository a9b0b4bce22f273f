"""Repair journals orphans and nothing else, with concurrent writes and with old reports."""

import io
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import Engine, event, text

from config import Settings
from db import writing
from devstack.databases import connection, engine_for
from devstack.waiting import wait_until
from repositories import images, pending_objects
from services.inspection import Inspector
from services.maintenance.sweeper import Sweeper
from services.maintenance.verification import Damage, Finding, StoredObject
from tests.support.damage import LONG_KEY, World, damaged, healthy, worlds
from tests.support.pictures import png

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
planted_damage = pytest.mark.planted_damage

_WAITERS = {
    "postgresql": "SELECT count(*) FROM pg_stat_activity"
    " WHERE datname = current_database() AND wait_event_type = 'Lock'",
    "mysql": "SELECT count(*) FROM information_schema.innodb_trx JOIN"
    " information_schema.processlist ON id = trx_mysql_thread_id"
    " WHERE db = DATABASE() AND trx_state = 'LOCK WAIT'",
}


@pytest.fixture
def world(settings: Settings, s3: "S3Client") -> Iterator[World]:
    """Return an empty bucket and database."""
    with worlds(settings, s3) as world:
        yield world


@planted_damage
def test_repair(world: World) -> None:
    """Repair only journals the orphans, and the sweeper deletes them after the horizon."""
    planted = damaged(world)
    world.put(LONG_KEY)
    orphans = {key for damage, key in planted if damage is Damage.ORPHAN}
    planted.add((Damage.ORPHAN, LONG_KEY))
    rows, entries, keys = world.rows(), world.entries(), world.keys()

    found, report = world.verify(deep=True, repairs=True)
    assert (found, report.journaled, report.clean) == (planted, len(orphans), False)
    assert (world.rows(), world.keys()) == (rows, keys)
    added = set(world.entries()) - set(entries)
    assert {(entry.s3_key, entry.state) for entry in added} == {(key, "D") for key in orphans}
    assert set(entries) < set(world.entries())
    assert world.verify(deep=True)[0] == {item for item in planted if item[1] not in orphans}

    for damage, key in planted:  # else the sweeper would delete the object of an image
        if damage is Damage.DOOMED:
            with writing(world.sessions()) as db:
                pending_objects.remove_entry(db, key)
    Sweeper(world.sessions, world.bucket, world.settings).sweep()
    assert orphans < world.keys()
    later = world.settings.model_copy(update={"put_horizon_seconds": 0})
    Sweeper(world.sessions, world.bucket, later).sweep()
    assert not orphans & world.keys()


@on_sqlite
def test_repaired_is_clean(world: World) -> None:
    """After a repair of the only damage, orphans, the state is clean."""
    orphan = world.put("orphan.png")
    for journaled in (1, 0):
        found, report = world.verify(repairs=True)
        assert (report.clean, report.journaled, len(found)) == (True, journaled, journaled)
    assert [entry.s3_key for entry in world.entries()] == [orphan]


def old_finding(key: str) -> Finding:
    """Return a finding from an earlier verification."""
    return Finding(Damage.ORPHAN, key, StoredObject(key, 5), None)


def test_old_report(world: World) -> None:
    """A repair by an outdated report changes neither images nor journal entries."""
    healthy(world)
    gone = world.image("gone")
    world.delete_image("gone")
    named = [entry.s3_key for entry in world.entries()] + [row.s3_key for row in world.rows()]
    rows, entries, keys = world.rows(), world.entries(), world.keys()
    for key in named:
        assert world.verifier().repair(old_finding(key)) is None
    assert (world.rows(), world.entries(), world.keys()) == (rows, entries, keys)
    # An object that is gone by now gets a superfluous entry, which the sweeper removes.
    assert world.verifier().repair(old_finding(gone))
    later = world.settings.model_copy(update={"put_horizon_seconds": 0})
    Sweeper(world.sessions, world.bucket, later).sweep()
    assert gone not in {entry.s3_key for entry in world.entries()}


class OpenUpload:
    """An upload that has written its row on its own connection, but has not committed."""

    def __init__(self, world: World) -> None:
        content = io.BytesIO(png())
        self.key = "live-image.png"
        found = Inspector(world.settings).inspect(content, "png")
        world.entry(self.key, "U")
        world.bucket.upload_image(content, self.key, found.content_type, sha256=found.sha256)
        self.engine = engine_for(world.settings.db_url)
        self.connection = self.engine.connect()
        assert pending_objects.finish_upload(self.connection, self.key)
        now = datetime.now(UTC)
        row = {
            "name": "live image",
            "s3_key": self.key,
            "size_bytes": found.size_bytes,
            "extension": found.extension,
            "content_type": found.content_type,
            "sha256": found.sha256,
            "width": found.width,
            "height": found.height,
        }
        images.insert_image(self.connection, row | {"created_at": now, "last_updated_at": now})

    def end(self, how: str) -> None:
        """Commit or roll back."""
        getattr(self.connection, how)()
        self.connection.close()
        self.engine.dispose()


def before_first_insert(engine: Engine, action: Callable[[], None]) -> None:
    """Run `action` once, right before `engine` inserts the next journal entry."""

    @event.listens_for(engine, "before_cursor_execute")
    def _(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        nonlocal action
        if statement.startswith("INSERT INTO pending_objects"):
            action()
            action = lambda: None  # noqa: E731


@pytest.mark.parametrize("database_url", ["postgresql", "mariadb"], indirect=True)
def test_commit_before_insert(world: World) -> None:
    """An upload that commits between the start of a repair and its INSERT keeps its object.

    A repair that reads the row before it inserts the entry would delete the object.
    """
    upload = OpenUpload(world)
    before_first_insert(world.engine, lambda: upload.end("commit"))
    assert world.verifier().repair(old_finding(upload.key)) is None
    assert (world.entries(), len(world.rows())) == ([], 1)


@pytest.mark.parametrize("how", ["commit", "rollback"])
def test_repair_waits(world: World, how: str) -> None:
    """A repair waits for an uncommitted upload of the key and does not damage it."""
    upload = OpenUpload(world)
    with ThreadPoolExecutor(1) as pool:
        repair = pool.submit(world.verifier().repair, old_finding(upload.key))
        if query := _WAITERS.get(world.engine.dialect.name):  # SQLite does not list its waiters
            with connection(world.settings.db_url) as db:
                wait_until(
                    lambda: db.scalar(text(query)) == 1, timeout=9, what="the repair to wait"
                )
        upload.end(how)
        assert repair.result() is None
    states = [entry.state for entry in world.entries()]
    assert (states, len(world.rows())) == (([], 1) if how == "commit" else (["U"], 0))
