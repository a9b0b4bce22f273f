"""Every SQL statement of the service, as functions on a connection.

They run inside `db.reading` or `db.writing`. Those that change exactly one row say whether they
did: the write protocol of `image_store` depends on these answers.
"""

import random
from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple, cast

from sqlalchemy import Connection, Table, delete, func, insert, literal, select, update

from db import Image, PendingObject

UPLOADING = "U"
TO_DELETE = "D"

_RANDOM_DRAWS = 16
_RANDOM_ROUNDS = 4


class ImageRecord(NamedTuple):
    """The columns of one image row, detached from session and connection."""

    id: int
    name: str
    size_bytes: int
    extension: str
    content_type: str
    sha256: str
    width: int
    height: int
    s3_key: str
    created_at: datetime
    last_updated_at: datetime


class PendingRecord(NamedTuple):
    """The columns of one journal entry."""

    s3_key: str
    state: str
    created_at: datetime
    claimed_at: datetime | None


# Statements are written against the tables, not the mapped classes: columns instead of entities
# cost a third of the CPU per read.
_images = cast(Table, Image.__table__)
_pending = cast(Table, PendingObject.__table__)
_select_image = select(*(_images.c[field] for field in ImageRecord._fields))
_select_pending = select(*(_pending.c[field] for field in PendingRecord._fields))


# --- images -------------------------------------------------------------------------------------


def find_image(connection: Connection, name: str, *, lock: bool = False) -> ImageRecord | None:
    """Return the image called `name`, or None; with `lock`, no one else writes it meanwhile."""
    statement = _select_image.where(_images.c.name == name)
    if lock:
        statement = statement.with_for_update()
    row = connection.execute(statement).first()
    return ImageRecord(*row) if row else None


def insert_image(connection: Connection, values: dict[str, Any]) -> None:
    """Insert a new image row. An existing name aborts the transaction."""
    connection.execute(insert(_images).values(values))


def replace_image(connection: Connection, current: ImageRecord, values: dict[str, Any]) -> bool:
    """Let the row of `current` describe another object; False when it changed meanwhile."""
    statement = (
        update(_images)
        .where(_images.c.name == current.name, _images.c.s3_key == current.s3_key)
        .values(values)
    )
    return connection.execute(statement).rowcount == 1


def delete_image(connection: Connection, current: ImageRecord) -> bool:
    """Delete the row of `current`; False when it changed meanwhile."""
    statement = delete(_images).where(
        _images.c.name == current.name, _images.c.s3_key == current.s3_key
    )
    return connection.execute(statement).rowcount == 1


class Order(NamedTuple):
    """The order of a listing: by one column, ties broken by id."""

    column: str
    descending: bool


def list_images(
    connection: Connection,
    order: Order,
    *,
    prefix: str = "",
    after: tuple[Any, int] | None = None,
    limit: int,
) -> list[ImageRecord]:
    """Return images whose names begin with `prefix`, from behind (order value, id) `after`.

    Keyset pagination: every page is one range of an index, as cheap at row 1,000,000 as at 10.
    """
    column = _images.c[order.column]
    statement = _select_image.limit(limit)
    if prefix:
        statement = statement.where(_images.c.name >= prefix)
        if (end := _behind_prefix(prefix)) is not None:
            statement = statement.where(_images.c.name < end)
    if after:
        value, id_ = after
        # Not a row comparison, for which MySQL would not use the index.
        beyond = column < value if order.descending else column > value
        tie = _images.c.id < id_ if order.descending else _images.c.id > id_
        at_or_beyond = column <= value if order.descending else column >= value
        statement = statement.where(at_or_beyond, beyond | tie)
    keys = (column,) if order.column == "name" else (column, _images.c.id)
    ordered = [key.desc() if order.descending else key.asc() for key in keys]
    return [ImageRecord(*row) for row in connection.execute(statement.order_by(*ordered))]


def _behind_prefix(prefix: str) -> str | None:
    """The smallest string behind all that begin with `prefix`; None when there is none."""
    stem = prefix.rstrip(chr(0x10FFFF))
    if not stem:
        return None
    successor = ord(stem[-1]) + 1
    # Surrogates are no characters; UTF-8 orders by code point without them.
    return stem[:-1] + chr(0xE000 if successor == 0xD800 else successor)


def random_image(connection: Connection) -> ImageRecord | None:
    """Return an image, each with exactly the same probability; None when there are none.

    Rejection sampling: of ids drawn uniformly between the smallest and the largest, the first
    that exists is uniform over the rows, however sparse the ids are. Rows so sparse that every
    draw misses are counted instead (0.4 ms against 66 ms for COUNT and OFFSET at 1 M rows).
    """
    # Two subqueries, because SQLite scans the table for min and max in one SELECT.
    smallest = select(func.min(_images.c.id)).scalar_subquery()
    largest = select(func.max(_images.c.id)).scalar_subquery()
    low, high = connection.execute(select(smallest, largest)).one()
    if low is None:
        return None
    for _ in range(_RANDOM_ROUNDS):
        draws = [random.randint(low, high) for _ in range(_RANDOM_DRAWS)]  # noqa: S311
        rows = connection.execute(_select_image.where(_images.c.id.in_(draws))).all()
        found = {row.id: row for row in rows}
        if hit := next((found[draw] for draw in draws if draw in found), None):
            return ImageRecord(*hit)
    return _random_by_offset(connection)


def _random_by_offset(connection: Connection) -> ImageRecord | None:
    while count := connection.execute(select(func.count()).select_from(_images)).scalar_one():
        offset = random.randrange(count)  # noqa: S311
        row = connection.execute(
            _select_image.order_by(_images.c.id).offset(offset).limit(1)
        ).first()
        if row:
            return ImageRecord(*row)
    return None


# --- the journal --------------------------------------------------------------------------------


def journal(connection: Connection, key: str, state: str, now: datetime) -> None:
    """Write down that no image row names the object under `key`."""
    connection.execute(
        insert(_pending).values(s3_key=key, state=state, created_at=now, claimed_at=None)
    )


def finish_upload(connection: Connection, key: str) -> bool:
    """Remove an upload's entry as its row is written; False when a sweeper took the key."""
    statement = delete(_pending).where(_pending.c.s3_key == key, _pending.c.state == UPLOADING)
    return connection.execute(statement).rowcount == 1


def take_upload(connection: Connection, key: str, claimed_at: datetime | None) -> bool:
    """Turn an upload's entry into one to delete; False when it committed or is gone.

    Afterwards that upload cannot commit any more. `claimed_at` is None where the PUT is known to
    have ended, so that nothing can land later.
    """
    statement = (
        update(_pending)
        .where(_pending.c.s3_key == key, _pending.c.state == UPLOADING)
        .values(state=TO_DELETE, claimed_at=claimed_at)
    )
    return connection.execute(statement).rowcount == 1


def forget_object(connection: Connection, key: str) -> None:
    """Remove the entry of an object that was deleted."""
    connection.execute(
        delete(_pending).where(_pending.c.s3_key == key, _pending.c.state == TO_DELETE)
    )


def pending_after(
    connection: Connection, after: tuple[datetime, str] | None, limit: int
) -> Sequence[PendingRecord]:
    """Return journal entries, oldest first, from behind (`created_at`, `s3_key`) `after`."""
    statement = _select_pending.order_by(_pending.c.created_at, _pending.c.s3_key).limit(limit)
    if after:
        moment, key = after
        statement = statement.where(
            (_pending.c.created_at > moment)
            | ((_pending.c.created_at == moment) & (_pending.c.s3_key > key))
        )
    return [PendingRecord(*row) for row in connection.execute(statement)]


def ping(connection: Connection) -> None:
    """Ask the database for an answer and the journal's table for its existence."""
    connection.execute(select(literal(1)).select_from(_pending).limit(1))
