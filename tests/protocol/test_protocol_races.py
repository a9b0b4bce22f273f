"""Two at once, at the worst moment: each row count that the protocol asks for is needed.

The rival acts between two steps of a use case, on a connection of its own. Where a lock would make
it wait, the lock is taken away first: the row counts must do without it.
"""

import io
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any
from unittest.mock import Mock

import pytest
from sqlalchemy import Connection, Engine, event, text

import s3_client
from config import Settings
from db import build_engine, build_sessions, reading
from errors import ImageNotFoundError, StorageUnavailableError, UploadInterruptedError
from repositories.pending_objects import JournalEntry, entries_after
from s3_client import Bucket
from services.image_store import ImageStore, UploadResult
from services.inspection import Inspector
from services.maintenance.sweeper import Sweeper
from tests.support.pictures import jpeg

pytestmark = pytest.mark.parametrize("database_url", ["postgresql", "mariadb"], indirect=True)
AT_ONCE = {"upload_grace_seconds": 0, "put_horizon_seconds": 0, "keep_deleted_seconds": 0}
FIRST, SECOND, THIRD = (jpeg(seed=number) for number in range(3))


class Party:
    """A service and a sweeper, both with an engine of their own."""

    def __init__(self, settings: Settings, bucket: Bucket) -> None:
        self.bucket = bucket
        self.engine: Engine = build_engine(settings)
        self.sessions = build_sessions(self.engine)
        self.store = ImageStore(self.sessions(), bucket, Inspector(settings), settings)
        self.sweeper = Sweeper(self.sessions, bucket, settings.model_copy(update=AT_ONCE))

    def upload(self, picture: bytes) -> UploadResult:
        """Upload, and do what follows the answer."""
        stored = self.store.upload(io.BytesIO(picture), "race", "jpg", lambda _: None)
        if stored.old_key:
            self.store.remove_unless_kept(stored.old_key)
        return stored

    def delete(self) -> None:
        """Delete, and do what follows the answer."""
        self.store.remove_unless_kept(self.store.delete("race", lambda _: None).s3_key)

    def bytes(self) -> bytes | None:
        """Read the image, None where there is none."""
        try:
            image = self.store.describe("race")
            while not (body := self.store.open_object(image, 0, image.size_bytes - 1)):
                image = self.store.describe_replacement(image)
            return body.read_all(image.size_bytes)
        except ImageNotFoundError:
            return None


Parties = tuple[Party, Party]


@pytest.fixture
def parties(settings: Settings) -> Iterator[Parties]:
    """Return the one that is tested and its rival."""
    bucket = Bucket(settings)
    both = Party(settings, bucket), Party(settings, bucket)
    yield both
    for party in both:
        party.engine.dispose()
    bucket.close()


def without_lock(party: Party, then: Callable[[], object]) -> None:
    """Let the party's next locking SELECT take no lock, and `then` happen right after it."""
    waiting = [then]
    unlocked: list[str] = []

    @event.listens_for(party.engine, "before_cursor_execute", retval=True)
    def unlock(
        _connection: Connection, _cursor: Any, statement: str, parameters: Any, *_: Any
    ) -> tuple[str, Any]:
        if "FOR UPDATE" not in statement or unlocked:
            return statement, parameters
        unlocked.append(statement.replace("FOR UPDATE", ""))
        return unlocked[0], parameters

    @event.listens_for(party.engine, "after_cursor_execute")
    def act(_connection: Connection, _cursor: Any, statement: str, *_: Any) -> None:
        if statement in unlocked and waiting:
            waiting.pop()()


def after_put(party: Party, then: Callable[[], object]) -> None:
    """Let `then` happen once between the party's next PUT and the transaction after it."""
    waiting = [then]

    @event.listens_for(party.engine, "before_cursor_execute")
    def act(_connection: Connection, _cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith("DELETE FROM pending_objects") and waiting:
            waiting.pop()()


def test_swept_before_the_commit(parties: Parties) -> None:
    """An upload whose key a sweeper took does not commit (row count of finish_upload)."""
    party, rival = parties
    after_put(party, rival.sweeper.sweep)
    with pytest.raises(UploadInterruptedError):
        party.upload(FIRST)
    assert party.bytes() is None
    party.upload(FIRST)
    assert party.bytes() == FIRST


def test_held_up_before_the_put(
    parties: Parties, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An upload that was held up after its journal entry PUTs nothing: its key may be forgotten."""
    party, rival = parties
    late = Mock(wraps=time)
    late.monotonic = lambda: time.monotonic() + settings.s3_put_timeout_seconds
    with monkeypatch.context() as patched:
        patched.setattr(s3_client, "time", late)
        with pytest.raises(StorageUnavailableError):
            party.upload(FIRST)
    assert list(party.bucket.list_objects()) == []
    assert rival.sweeper.sweep().taken == 1
    party.upload(FIRST)
    assert party.bytes() == FIRST


def test_committed_before_the_sweep(parties: Parties) -> None:
    """A sweeper keeps its hands off a key that was committed since it looked (claim_upload)."""
    party, rival = parties
    seen: list[JournalEntry] = []

    def look() -> None:
        with reading(rival.sessions()) as connection:
            seen.extend(entries_after(connection, None, 10))

    after_put(party, look)
    party.upload(FIRST)
    assert [entry.state for entry in seen] == ["U"]
    assert rival.sweeper._handle(seen[0]) == "waiting"
    assert party.bytes() == FIRST


def test_overwritten_before_the_overwrite(parties: Parties) -> None:
    """An overwrite sees that another one came first, and overwrites that (replace_image)."""
    party, rival = parties
    party.upload(FIRST)
    after_put(party, lambda: rival.upload(SECOND))
    party.upload(THIRD)
    assert party.bytes() == THIRD


def test_deleted_before_the_overwrite(parties: Parties) -> None:
    """An overwrite sees that the image was deleted, and creates it (replace_image)."""
    party, rival = parties
    party.upload(FIRST)
    after_put(party, rival.delete)
    assert party.upload(THIRD).old_key is None
    assert party.bytes() == THIRD


def test_overwritten_before_the_delete(parties: Parties) -> None:
    """A delete sees that the image was overwritten, and deletes that (delete_image)."""
    party, rival = parties
    party.upload(FIRST)
    without_lock(party, lambda: rival.upload(SECOND))
    party.delete()
    assert party.bytes() is None


def test_deleted_before_the_delete(parties: Parties) -> None:
    """Of two deletes one finds nothing any more (delete_image)."""
    party, rival = parties
    party.upload(FIRST)
    without_lock(party, rival.delete)
    with pytest.raises(ImageNotFoundError):
        party.delete()


def test_created_before_the_first_upload(parties: Parties) -> None:
    """Of two first uploads the later one overwrites the earlier (unique name)."""
    party, rival = parties
    after_put(party, lambda: rival.upload(FIRST))
    assert party.upload(SECOND).old_key
    assert party.bytes() == SECOND


def test_horizon(parties: Parties, settings: Settings) -> None:
    """An upload that was given up stays in the journal as long as its PUT may land."""
    party, _ = parties
    patient = settings.model_copy(update=AT_ONCE | {"put_horizon_seconds": 3600})
    with party.engine.begin() as db:
        insert = "INSERT INTO pending_objects VALUES ('late.jpg', 'U', :moment, NULL)"
        moment = datetime(2020, 1, 1, tzinfo=UTC)
        db.execute(text(insert), {"moment": moment})
    sweeper = Sweeper(party.sessions, party.bucket, patient)
    assert [(r.taken, r.removed) for r in (sweeper.sweep(), sweeper.sweep())] == [(1, 0), (0, 0)]
