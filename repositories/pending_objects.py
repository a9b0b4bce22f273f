"""Every SQL statement on the journal, `pending_objects`.

Functions that change exactly one row return whether they did; the write protocol depends on it.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple, cast

from sqlalchemy import (
    Connection,
    Table,
    bindparam,
    case,
    delete,
    func,
    insert,
    literal,
    literal_column,
    select,
    update,
)

from db import PendingObject

UPLOADING = "U"
TO_DELETE = "D"


class JournalEntry(NamedTuple):
    """The columns of a journal entry."""

    s3_key: str
    state: str
    created_at: datetime
    claimed_at: datetime | None

    @property
    def is_claimed(self) -> bool:
        """Whether the sweeper claimed it from an upload."""
        return self.claimed_at is not None

    @property
    def since(self) -> datetime:
        """The time at which it entered its state."""
        return self.claimed_at or self.created_at


class JournalGroup(NamedTuple):
    """The entries of one kind: their number, and the time of the oldest."""

    state: str
    is_claimed: bool
    number: int
    since: datetime


_pending = cast(Table, PendingObject.__table__)
_select_entry = select(*(_pending.c[field] for field in JournalEntry._fields))
_insert_entry = insert(_pending)
_delete_entry = delete(_pending).where(
    _pending.c.s3_key == bindparam("key"), _pending.c.state == bindparam("in_state")
)


def journal_upload(connection: Connection, key: str, now: datetime) -> None:
    """Journal a key before its PUT. An existing entry aborts the transaction."""
    _insert(connection, JournalEntry(key, UPLOADING, now, None))


def journal_deletion(
    connection: Connection, key: str, now: datetime, claimed_at: datetime | None = None
) -> None:
    """Journal that the object under `key` is to be deleted, because no row names it.

    An existing entry aborts the transaction. `claimed_at` is None if no abandoned PUT can land
    later.
    """
    _insert(connection, JournalEntry(key, TO_DELETE, now, claimed_at))


def _insert(connection: Connection, entry: JournalEntry) -> None:
    connection.execute(_insert_entry, entry._asdict())


def finish_upload(connection: Connection, key: str) -> bool:
    """Remove the entry of an upload; return False if the sweeper has claimed it."""
    return connection.execute(_delete_entry, {"key": key, "in_state": UPLOADING}).rowcount == 1


def claim_upload(connection: Connection, key: str, claimed_at: datetime | None) -> bool:
    """Mark the entry of an upload as to be deleted; return False if there is no such entry.

    The upload can then no longer commit. `claimed_at` is None if the PUT is known to have ended, so
    that nothing can land later.
    """
    statement = (
        update(_pending)
        .where(_pending.c.s3_key == key, _pending.c.state == UPLOADING)
        .values(state=TO_DELETE, claimed_at=claimed_at)
    )
    return connection.execute(statement).rowcount == 1


def remove_entry(connection: Connection, key: str) -> None:
    """Remove the entry of an object that was deleted."""
    connection.execute(_delete_entry, {"key": key, "in_state": TO_DELETE})


def entries_after(
    connection: Connection, after: tuple[datetime, str] | None, limit: int
) -> Sequence[JournalEntry]:
    """Return journal entries, oldest first, after the (`created_at`, `s3_key`) `after`."""
    statement = _select_entry.order_by(_pending.c.created_at, _pending.c.s3_key).limit(limit)
    if after:
        moment, key = after
        statement = statement.where(
            (_pending.c.created_at > moment)
            | ((_pending.c.created_at == moment) & (_pending.c.s3_key > key))
        )
    return [JournalEntry(*row) for row in connection.execute(statement)]


def summarise(connection: Connection) -> Sequence[JournalGroup]:
    """Return the number and the oldest time of the entries of each kind."""
    since = func.coalesce(_pending.c.claimed_at, _pending.c.created_at)
    # Oracle and SQL Server allow neither a condition as column nor parameters in GROUP BY.
    claimed = case(
        (_pending.c.claimed_at.is_not(None), literal_column("1")), else_=literal_column("0")
    )
    statement = select(_pending.c.state, claimed, func.count(), func.min(since))
    statement = statement.group_by(_pending.c.state, claimed)
    return [
        JournalGroup(state, bool(is_claimed), count, oldest)
        for state, is_claimed, count, oldest in connection.execute(statement)
    ]


def ping(connection: Connection) -> None:
    """Query the journal, so that a missing table raises an error as well."""
    connection.execute(select(literal(1)).select_from(_pending).limit(1))
