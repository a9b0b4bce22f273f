"""Races at the worst moment: the row counts of the protocol's statements decide them correctly.

A rival acts on its own connection between two steps of a use case. Locks that would make it wait
are removed from the statements, because correctness may not depend on them.
"""

import io
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import IO, Any
from unittest.mock import Mock

import pytest
from sqlalchemy import Connection, Engine, event, text

from config import Settings
from db import build_engine, build_sessions, reading
from errors import (
    ImageNotFoundError,
    StorageUnavailableError,
    TransactionAbortedError,
    UploadInterruptedError,
)
from repositories.pending_objects import JournalEntry, claim_upload, entries_after
from s3_client import Bucket
from services import write_protocol
from services.image_store import ImageStore
from services.inspection import Inspector
from services.maintenance.sweeper import Sweeper
from services.origin import HERE
from services.write_protocol import UploadResult
from tests.support.pictures import jpeg

pytestmark = pytest.mark.parametrize("database_url", ["postgresql", "mariadb"], indirect=True)
AT_ONCE = {"upload_grace_seconds": 0, "put_horizon_seconds": 0, "keep_deleted_seconds": 0}
FIRST, SECOND, THIRD = (jpeg(seed=number) for number in range(3))


class Instance:
    """A service instance with its own engine, and its sweeper."""

    def __init__(self, settings: Settings, bucket: Bucket) -> None:
        self.bucket = bucket
        self.engine: Engine = build_engine(settings)
        self.sessions = build_sessions(self.engine)
        self.store = ImageStore(self.sessions(), bucket, Inspector(settings), settings)
        self.sweeper = Sweeper(self.sessions, bucket, settings.model_copy(update=AT_ONCE))

    def upload(self, picture: bytes) -> UploadResult:
        """Upload, including the cleanup after the response."""
        stored = self.store.upload(io.BytesIO(picture), "race", "jpg", lambda _: None)
        if stored.old_key:
            self.store.remove_unless_kept(stored.old_key)
        return stored

    def upload_both(self) -> None:
        """Upload two new images together."""
        pictures = {"other": SECOND, "race": FIRST}
        self.store.upload_new(
            [
                self.store.prepare(io.BytesIO(picture), name, "jpg", HERE)
                for name, picture in pictures.items()
            ]
        )

    def names(self) -> list[str]:
        """Return the names of all images."""
        return [image.name for image in self.store.list("name", "", None, 10)]

    def journal(self) -> list[JournalEntry]:
        """Return the journal."""
        with reading(self.sessions()) as connection:
            return list(entries_after(connection, None, 10))

    def delete(self) -> None:
        """Delete, including the cleanup after the response."""
        self.store.remove_unless_kept(self.store.delete("race", lambda _: None).s3_key)

    def bytes(self) -> bytes | None:
        """Return the bytes of the image, or None if it does not exist."""
        try:
            image = self.store.describe("race")
            while not (body := self.store.open_object(image, 0, image.size_bytes - 1)):
                image = self.store.describe_replacement(image)
            return body.read_all(image.size_bytes)
        except ImageNotFoundError:
            return None


Instances = tuple[Instance, Instance]


@pytest.fixture
def instances(settings: Settings) -> Iterator[Instances]:
    """Return the instance under test and its rival."""
    bucket = Bucket(settings)
    both = Instance(settings, bucket), Instance(settings, bucket)
    yield both
    for instance in both:
        instance.engine.dispose()
    bucket.close()


def without_lock(instance: Instance, then: Callable[[], object]) -> None:
    """Remove the lock from the instance's next SELECT ... FOR UPDATE; call `then` after it."""
    waiting = [then]
    unlocked: list[str] = []

    @event.listens_for(instance.engine, "before_cursor_execute", retval=True)
    def unlock(
        _connection: Connection, _cursor: Any, statement: str, parameters: Any, *_: Any
    ) -> tuple[str, Any]:
        if "FOR UPDATE" not in statement or unlocked:
            return statement, parameters
        unlocked.append(statement.replace("FOR UPDATE", ""))
        return unlocked[0], parameters

    @event.listens_for(instance.engine, "after_cursor_execute")
    def act(_connection: Connection, _cursor: Any, statement: str, *_: Any) -> None:
        if statement in unlocked and waiting:
            waiting.pop()()


def after_put(instance: Instance, then: Callable[[], object]) -> None:
    """Call `then` once between the instance's next PUT and the transaction after it."""
    waiting = [then]

    @event.listens_for(instance.engine, "before_cursor_execute")
    def act(_connection: Connection, _cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith("DELETE FROM pending_objects") and waiting:
            waiting.pop()()


def test_swept_before_the_commit(instances: Instances) -> None:
    """An upload whose key a sweeper claimed does not commit (row count of finish_upload)."""
    instance, rival = instances
    after_put(instance, rival.sweeper.sweep)
    with pytest.raises(UploadInterruptedError):
        instance.upload(FIRST)
    assert instance.bytes() is None
    instance.upload(FIRST)
    assert instance.bytes() == FIRST


def test_held_up_before_the_put(
    instances: Instances, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An upload that is delayed beyond its deadline after its journal entry sends no PUT.

    Its host may be suspended meanwhile, which stops the monotonic clock.
    """
    instance, rival = instances
    now, late = time.time(), Mock(wraps=time)
    late.time = Mock(side_effect=[now, now + settings.s3_put_timeout_seconds])
    with monkeypatch.context() as patched:
        patched.setattr(write_protocol, "time", late)
        with pytest.raises(StorageUnavailableError):
            instance.upload(FIRST)
    assert list(instance.bucket.list_objects()) == []
    assert rival.sweeper.sweep().taken == 1
    instance.upload(FIRST)
    assert instance.bytes() == FIRST


@pytest.mark.parametrize("act", [Instance.delete, lambda rival: rival.upload(SECOND)])
def test_removed_before_the_check(
    instances: Instances,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    act: Callable[[Instance], object],
) -> None:
    """An identical upload does not report an object as lost that a rival has just removed."""
    instance, rival = instances
    instance.upload(FIRST)
    has_object = instance.bucket.has_object

    def removed_first(key: str, size: int) -> bool:
        act(rival)
        return has_object(key, size)

    with monkeypatch.context() as patched:
        patched.setattr(instance.bucket, "has_object", removed_first)
        assert instance.upload(FIRST).outcome in {"created", "replaced"}
    assert instance.bytes() == FIRST
    assert "lost" not in caplog.text


def test_committed_before_the_sweep(instances: Instances) -> None:
    """A sweeper does not claim a key whose upload committed meanwhile (claim_upload)."""
    instance, rival = instances
    seen: list[JournalEntry] = []

    def read_journal() -> None:
        with reading(rival.sessions()) as connection:
            seen.extend(entries_after(connection, None, 10))

    after_put(instance, read_journal)
    instance.upload(FIRST)
    assert [entry.state for entry in seen] == ["U"]
    assert rival.sweeper._handle(seen[0]) == "waiting"
    assert instance.bytes() == FIRST


def test_overwritten_before_the_overwrite(instances: Instances) -> None:
    """An overwrite replaces an image that another overwrite changed first (replace_image)."""
    instance, rival = instances
    instance.upload(FIRST)
    after_put(instance, lambda: rival.upload(SECOND))
    instance.upload(THIRD)
    assert instance.bytes() == THIRD


def test_deleted_before_the_overwrite(instances: Instances) -> None:
    """An overwrite creates an image that was deleted meanwhile (replace_image)."""
    instance, rival = instances
    instance.upload(FIRST)
    after_put(instance, rival.delete)
    assert instance.upload(THIRD).old_key is None
    assert instance.bytes() == THIRD


def test_overwritten_before_the_delete(instances: Instances) -> None:
    """A delete removes an image that was overwritten meanwhile (delete_image)."""
    instance, rival = instances
    instance.upload(FIRST)
    without_lock(instance, lambda: rival.upload(SECOND))
    instance.delete()
    assert instance.bytes() is None


def test_deleted_before_the_delete(instances: Instances) -> None:
    """Of two concurrent deletes the later one finds no image (delete_image)."""
    instance, rival = instances
    instance.upload(FIRST)
    without_lock(instance, rival.delete)
    with pytest.raises(ImageNotFoundError):
        instance.delete()


def test_created_before_the_first_upload(instances: Instances) -> None:
    """Of two concurrent first uploads the later one overwrites the earlier (unique name)."""
    instance, rival = instances
    after_put(instance, lambda: rival.upload(FIRST))
    assert instance.upload(SECOND).old_key
    assert instance.bytes() == SECOND


def test_both_swept_before_the_commit(instances: Instances) -> None:
    """If a sweeper claimed one key of a batch, nothing of it is stored (row count)."""
    instance, rival = instances

    def claim_first() -> None:
        with rival.engine.begin() as db:
            first = min(entry.s3_key for entry in rival.journal())
            assert claim_upload(db, first, datetime.now(UTC))

    after_put(instance, claim_first)
    with pytest.raises(UploadInterruptedError):
        instance.upload_both()
    assert instance.names() == []
    assert [entry.s3_key[:5] for entry in instance.journal()] == ["other"]
    rival.sweeper.sweep()
    assert list(instance.bucket.list_objects()) == []
    instance.upload_both()
    assert (instance.names(), instance.journal()) == (["other", "race"], [])


def test_created_before_the_first_upload_of_both(instances: Instances) -> None:
    """A batch with a name that has an image by now stores nothing and leaves nothing behind."""
    instance, rival = instances
    after_put(instance, lambda: rival.upload(THIRD))
    with pytest.raises(TransactionAbortedError):
        instance.upload_both()
    assert (instance.names(), instance.bytes(), instance.journal()) == (["race"], THIRD, [])
    assert len(list(instance.bucket.list_objects())) == 1


def test_put_of_both_fails(instances: Instances, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first object of a batch is removed if the second PUT fails; its key stays journaled."""
    instance, rival = instances
    put = Bucket.upload_image

    def fail_second(bucket: Bucket, file: IO[bytes], key: str, *args: Any, **options: Any) -> None:
        put(bucket, file, key, *args, **options)
        if key.startswith("race"):
            raise StorageUnavailableError

    with monkeypatch.context() as patched:
        patched.setattr(Bucket, "upload_image", fail_second)
        with pytest.raises(StorageUnavailableError):
            instance.upload_both()
    assert instance.names() == []
    left = [key for key, _ in instance.bucket.list_objects()]
    assert [(entry.s3_key, entry.state) for entry in instance.journal()] == [(left[0], "U")]
    assert [key[:4] for key in left] == ["race"]
    rival.sweeper.sweep()
    assert list(instance.bucket.list_objects()) == []


def test_horizon(instances: Instances, settings: Settings) -> None:
    """An abandoned upload stays in the journal as long as its PUT may land."""
    instance, _ = instances
    patient = settings.model_copy(update=AT_ONCE | {"put_horizon_seconds": 3600})
    with instance.engine.begin() as db:
        insert = "INSERT INTO pending_objects VALUES ('late.jpg', 'U', :moment, NULL)"
        moment = datetime(2020, 1, 1, tzinfo=UTC)
        db.execute(text(insert), {"moment": moment})
    sweeper = Sweeper(instance.sessions, instance.bucket, patient)
    assert [(r.taken, r.removed) for r in (sweeper.sweep(), sweeper.sweep())] == [(1, 0), (0, 0)]
