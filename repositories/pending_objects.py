"""Every SQL statement on the journal, `pending_objects`.

Functions that change one row return whether they did. The write protocol depends on it.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple, cast

from sqlalchemy import Connection, Table, bindparam, delete, insert, literal, select, update

from db import PendingObject

UPLOADING = "U"
TO_DELETE = "D"


class JournalEntry(NamedTuple):
    """The columns of one journal entry."""

    s3_key: str
    state: str
    created_at: datetime
    claimed_at: datetime | None

    @property
    def is_claimed(self) -> bool:
        """Whether a late PUT of the key may still land."""
        return self.claimed_at is not None

    @property
    def since(self) -> datetime:
        """The time at which the entry got its state."""
        return self.claimed_at or self.created_at


_pending = cast(Table, PendingObject.__table__)
_select_entry = select(*(_pending.c[field] for field in JournalEntry._fields))
_insert_entry = insert(_pending)
_delete_entry = delete(_pending).where(
    _pending.c.s3_key == bindparam("key"), _pending.c.state == bindparam("in_state")
)


def journal_upload(connection: Connection, key: str, now: datetime) -> None:
    """Journal a key before its PUT. An existing entry of the key aborts the transaction."""
    _insert(connection, JournalEntry(key, UPLOADING, now, None))


def journal_uploads(connection: Connection, keys: Iterable[str], now: datetime) -> None:
    """Journal several keys before their PUTs, in one statement."""
    entries = [JournalEntry(key, UPLOADING, now, None)._asdict() for key in keys]
    connection.execute(_insert_entry, entries)


def journal_deletion(
    connection: Connection, key: str, now: datetime, claimed_at: datetime | None = None
) -> None:
    """Journal an object without a row for deletion.

    An existing entry of the key aborts the transaction. `claimed_at` is None if no PUT of the key
    can land any more.
    """
    _insert(connection, JournalEntry(key, TO_DELETE, now, claimed_at))


def has_entry(connection: Connection, key: str) -> bool:
    """Return whether the journal has an entry of the key."""
    statement = select(literal(1)).where(_pending.c.s3_key == key)
    return connection.execute(statement).first() is not None


def _insert(connection: Connection, entry: JournalEntry) -> None:
    connection.execute(_insert_entry, entry._asdict())


def finish_upload(connection: Connection, key: str) -> bool:
    """Remove the entry of a finished upload; return False if a sweeper claimed its key."""
    return connection.execute(_delete_entry, {"key": key, "in_state": UPLOADING}).rowcount == 1


def finish_uploads(connection: Connection, keys: Sequence[str]) -> bool:
    """Remove the entries of finished uploads; return False if a sweeper claimed any key."""
    statement = delete(_pending).where(
        _pending.c.s3_key.in_(bindparam("keys", expanding=True)), _pending.c.state == UPLOADING
    )
    return connection.execute(statement, {"keys": keys}).rowcount == len(keys)


def claim_upload(connection: Connection, key: str, claimed_at: datetime) -> bool:
    """Change the state of an upload to TO_DELETE; return False if it has committed or is gone.

    The upload cannot commit any more. Its PUT may land until the horizon after `claimed_at`.
    """
    statement = (
        update(_pending)
        .where(_pending.c.s3_key == key, _pending.c.state == UPLOADING)
        .values(state=TO_DELETE, claimed_at=claimed_at)
    )
    return connection.execute(statement).rowcount == 1


def remove_entry(connection: Connection, key: str) -> None:
    """Remove the entry of a deleted object."""
    connection.execute(_delete_entry, {"key": key, "in_state": TO_DELETE})


def entries_after(
    connection: Connection, after: tuple[datetime, str] | None, limit: int
) -> Sequence[JournalEntry]:
    """Return a page of entries, oldest first, after the (`created_at`, `s3_key`) `after`."""
    statement = _select_entry.order_by(_pending.c.created_at, _pending.c.s3_key).limit(limit)
    if after:
        moment, key = after
        # The first condition limits the range of the index. Without it, PostgreSQL and SQLite read
        # all earlier entries for each page.
        statement = statement.where(
            _pending.c.created_at >= moment,
            (_pending.c.created_at > moment) | (_pending.c.s3_key > key),
        )
    return [JournalEntry(*row) for row in connection.execute(statement)]


def ping(connection: Connection) -> None:
    """Check that the database answers and has the journal."""
    connection.execute(select(literal(1)).select_from(_pending).limit(1))
