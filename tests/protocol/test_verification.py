"""Verification finds all damage and nothing else, even during concurrent writes."""

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
    """Return an empty bucket and database."""
    with worlds(settings, s3) as world:
        yield world


def test_clean(world: World) -> None:
    """Verification of a consistent state reports no damage and counts objects, rows and entries."""
    healthy(world)
    for deep in (False, True):
        found, report = world.verify(deep=deep)
        assert (found, report.clean) == (set(), True)
        assert (report.objects, report.images, report.entries) == (5, 3, 4)


@planted_damage
def test_damage(world: World) -> None:
    """Verification reports every kind of damage; altered bytes only with `deep`."""
    planted = damaged(world)
    shallow = {(damage, key) for damage, key in planted if damage is not Damage.ALTERED}
    assert world.verify()[0] == shallow
    found, report = world.verify(deep=True)
    assert (found, report.clean) == (planted, False)


@planted_damage
def test_paging(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The size of the pages does not affect which damage verification finds."""
    planted = damaged(world)
    for page in (1, 2):
        monkeypatch.setattr(references, "_KEYS_PAGE", page)
        found, report = world.verify(deep=True)
        assert (found, report.images) == (planted, len(world.rows()))


class HookedBucket(Bucket):
    """A bucket that calls each hook once: after a listing, before a download, after a check."""

    after_list: Callable[[], object] | None = None
    before_download: Callable[[], object] | None = None
    after_check: Callable[[], object] | None = None

    def list_objects(self, prefix: str = "") -> Iterator[tuple[str, int]]:
        """List in reverse order, then call the hook for the whole list or for one key."""
        entries = sorted(super().list_objects(prefix), reverse=True)
        self._call("after_check" if prefix else "after_list")
        yield from entries

    def download_image(self, key: str, part: tuple[int, int] | None = None) -> Any:
        """Call the hook, then download."""
        self._call("before_download")
        return super().download_image(key, part)

    def _call(self, when: str) -> None:
        action = getattr(self, when)
        setattr(self, when, None)
        if action:
            action()


@pytest.fixture
def hooked(world: World) -> Iterator[HookedBucket]:
    """Return the bucket with hooks."""
    with closing(HookedBucket(world.settings)) as bucket:
        yield bucket


@on_sqlite
@planted_damage
def test_unsorted_list(world: World, hooked: HookedBucket) -> None:
    """Verification is correct with a store that does not list in byte order."""
    planted = damaged(world)
    assert world.verify(bucket=hooked, deep=True)[0] == planted


def test_writes_after_the_list(world: World, hooked: HookedBucket) -> None:
    """Uploads, overwrites and deletes after the listing are not reported as damage."""
    healthy(world)

    def after_list() -> None:
        world.image("new", 7)
        world.image("image 0", 8)
        world.delete_image("image 1")

    hooked.after_list = after_list
    assert world.verify(bucket=hooked, deep=True)[0] == set()


def test_writes_between_two_checks(world: World, hooked: HookedBucket) -> None:
    """An image that is overwritten or deleted between two checks is not reported as damage."""
    world.image("one", 1)
    for change in (lambda: world.image("new", 2), lambda: world.delete_image("new")):
        hooked.after_list = lambda: world.image("new", 1)
        hooked.before_download = change
        assert world.verify(bucket=hooked)[0] == set()


def test_delete_between_two_checks(
    world: World, hooked: HookedBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An object that is deleted with its journal entry between two checks is not an orphan."""
    hooked.after_list = lambda: world.image("new")
    read_of_key = references.read_of_key
    deleted: list[str] = []

    def begin_delete(db: Connection, key: str) -> list[references.Reference]:
        if not deleted:
            deleted.append(world.begin_delete("new"))
            hooked.after_check = lambda: world.finish_delete(deleted[0])
        return read_of_key(db, key)

    monkeypatch.setattr(references, "read_of_key", begin_delete)
    assert world.verify(bucket=hooked)[0] == set()
    assert len(deleted) == 1
    assert hooked.after_check is None, "the hook was not called"


def test_snapshot(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Verification reads all pages of the tables in one snapshot and blocks no writer."""
    for name in ("a", "b"):
        world.image(name)
    world.entry("y", "U")
    read_all = references.read_all

    def interrupted(db: Connection) -> Iterator[references.Reference]:
        references_left = read_all(db)
        yield next(references_left)
        world.image("c")
        world.delete_image("b")
        world.entry("z", "U")
        yield from references_left

    monkeypatch.setattr(references, "_KEYS_PAGE", 1)
    monkeypatch.setattr(references, "read_all", interrupted)
    found, report = world.verify()
    assert (found, report.images, report.entries) == (set(), 2, 1)


@on_sqlite
def test_unreadable(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """An object that cannot be read is reported; a store that is down is an error, not damage."""
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
    """A database that fails during a verification is an error, not damage."""
    world.image("one")

    def fail(*_: object) -> None:
        raise DatabaseUnavailableError

    monkeypatch.setattr(references, "read_of_key", fail)
    with pytest.raises(DatabaseUnavailableError):
        world.verify(deep=True)
