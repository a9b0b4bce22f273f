"""Verification finds exactly the damage there is, while the world goes on."""

from collections.abc import Callable, Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import Connection

from config import Settings
from errors import DatabaseUnavailableError, StorageUnavailableError
from repositories import references
from s3_client import Bucket
from services.maintenance.verification import Damage
from tests.support.damage import World, damaged, healthy, worlds

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
planted_damage = pytest.mark.planted_damage


@pytest.fixture
def world(settings: Settings, s3: "S3Client") -> Iterator[World]:
    """Return an empty world."""
    with worlds(settings, s3) as world:
        yield world


def test_clean(world: World) -> None:
    """Images with their objects and any journal entries are clean, and counted."""
    healthy(world)
    for deep in (False, True):
        found, report = world.verify(deep=deep)
        assert (found, report.clean) == (set(), True)
        assert (report.objects, report.images, report.entries) == (5, 3, 4)


@planted_damage
def test_damage(world: World) -> None:
    """Damage of each kind is found exactly; what only the bytes show, by a deep look."""
    planted = damaged(world)
    shallow = {(damage, key) for damage, key in planted if damage is not Damage.ALTERED}
    assert world.verify()[0] == shallow
    found, report = world.verify(deep=True)
    assert (found, report.clean) == (planted, False)


@planted_damage
def test_paging(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Damage is found wherever the pages of the tables end."""
    planted = damaged(world)
    for page in (1, 2):
        monkeypatch.setattr(references, "_KEYS_PAGE", page)
        found, report = world.verify(deep=True)
        assert (found, report.images) == (planted, len(world.rows()))


class MeddledBucket(Bucket):
    """A bucket in which something happens after the list, before a download or after a look."""

    after_list: Callable[[], object] | None = None
    before_download: Callable[[], object] | None = None
    after_look: Callable[[], object] | None = None

    def list_objects(self, prefix: str = "") -> Iterator[tuple[str, int]]:
        """List, backwards; then let it happen."""
        entries = sorted(super().list_objects(prefix), reverse=True)
        self._happen("after_look" if prefix else "after_list")
        yield from entries

    def download_image(self, key: str, part: tuple[int, int] | None = None) -> Any:
        """Let it happen, then look."""
        self._happen("before_download")
        return super().download_image(key, part)

    def _happen(self, when: str) -> None:
        action = getattr(self, when)
        setattr(self, when, None)
        if action:
            action()


@pytest.fixture
def meddled(world: World) -> Iterator[MeddledBucket]:
    """Return the world's bucket, to meddle with."""
    with closing(MeddledBucket(world.settings)) as bucket:
        yield bucket


@on_sqlite
@planted_damage
def test_unsorted_list(world: World, meddled: MeddledBucket) -> None:
    """A store that lists in another order costs time, but neither hides nor invents damage."""
    planted = damaged(world)
    assert world.verify(bucket=meddled, deep=True)[0] == planted


def test_meanwhile(world: World, meddled: MeddledBucket) -> None:
    """What is uploaded, overwritten or deleted after the list is no damage."""
    healthy(world)

    def after_list() -> None:
        world.image("new", 7)
        world.image("image 0", 8)
        world.delete_image("image 1")

    meddled.after_list = after_list
    assert world.verify(bucket=meddled, deep=True)[0] == set()


def test_meanwhile_looking(world: World, meddled: MeddledBucket) -> None:
    """A suspect that is overwritten or deleted between two looks at it is no damage."""
    world.image("one", 1)
    for change in (lambda: world.image("new", 2), lambda: world.delete_image("new")):
        meddled.after_list = lambda: world.image("new", 1)
        meddled.before_download = change
        assert world.verify(bucket=meddled)[0] == set()


def test_meanwhile_journaled(
    world: World, meddled: MeddledBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An object whose journal entry goes with it, between two looks at both, is no orphan."""
    meddled.after_list = lambda: world.image("new")
    read_of_key = references.read_of_key
    deleted: list[str] = []

    def begin_delete(db: Connection, key: str) -> list[references.Reference]:
        if not deleted:
            deleted.append(world.begin_delete("new"))
            meddled.after_look = lambda: world.finish_delete(deleted[0])
        return read_of_key(db, key)

    monkeypatch.setattr(references, "read_of_key", begin_delete)
    assert world.verify(bucket=meddled)[0] == set()
    assert len(deleted) == 1
    assert meddled.after_look is None, "it did happen"


def test_snapshot(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pages of both tables are of one moment, and hold up no writer."""
    for name in ("a", "b"):
        world.image(name)
    world.entry("y", "U")
    read_all = references.read_all

    def interrupted(db: Connection) -> Iterator[references.Reference]:
        of_one_moment = read_all(db)
        yield next(of_one_moment)
        world.image("c")
        world.delete_image("b")
        world.entry("z", "U")
        yield from of_one_moment

    monkeypatch.setattr(references, "_KEYS_PAGE", 1)
    monkeypatch.setattr(references, "read_all", interrupted)
    found, report = world.verify()
    assert (found, report.images, report.entries) == (set(), 2, 1)


@on_sqlite
def test_unreadable(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """An object that the store does not give out is reported; a store that is down is no damage."""
    keys = {world.image("one", 1), world.image("two", 2)}

    def refuse(_self: Bucket, _key: str) -> None:
        raise StorageUnavailableError

    monkeypatch.setattr(Bucket, "download_image", refuse)
    assert world.verify(deep=True)[0] == {(Damage.UNREADABLE, key) for key in keys}
    monkeypatch.setattr(Bucket, "check", lambda self: refuse(self, ""))
    with pytest.raises(StorageUnavailableError):
        world.verify(deep=True)


@on_sqlite
def test_database_down(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database that fails in the middle is an error, not damage."""
    world.image("one")

    def fail(*_: object) -> None:
        raise DatabaseUnavailableError

    monkeypatch.setattr(references, "read_of_key", fail)
    with pytest.raises(DatabaseUnavailableError):
        world.verify(deep=True)
