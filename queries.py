"""Every SQL statement of the service, as functions on a connection.

They run inside `db.reading` or `db.writing`. Those that change exactly one row say whether they
did: the write protocol of `image_store` depends on these answers.
"""

import functools
import random
from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple, cast

from sqlalchemy import (
    BigInteger,
    Connection,
    Select,
    Table,
    bindparam,
    delete,
    func,
    insert,
    literal,
    select,
    update,
)
from sqlalchemy.orm import Session

from db import Image, PendingObject, fetch

UPLOADING = "U"
TO_DELETE = "D"

_RANDOM_DRAWS = 16
_RANDOM_ROUNDS = 4
_KEYS_PAGE = 1000


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


# Statements are built once: building one and its cache key costs as much as asking the database.
_select_by_name = _select_image.where(_images.c.name == bindparam("name"))
_select_by_name_locked = _select_by_name.with_for_update()
_is_current = (
    _images.c.name == bindparam("its_name"),
    _images.c.s3_key == bindparam("its_key"),
)
_insert_image = insert(_images)
_replace_image = update(_images).where(*_is_current)
_delete_image = delete(_images).where(*_is_current)


def find_image(session: Session, name: str) -> ImageRecord | None:
    """Return the image called `name`, or None."""
    rows = fetch(session, _select_by_name, {"name": name})
    return ImageRecord._make(rows[0]) if rows else None


def lock_image(connection: Connection, name: str) -> ImageRecord | None:
    """Return the image called `name`, or None; until the transaction ends no one else writes it."""
    row = connection.execute(_select_by_name_locked, {"name": name}).first()
    return ImageRecord._make(row) if row else None


def insert_image(connection: Connection, values: dict[str, Any]) -> None:
    """Insert a new image row. An existing name aborts the transaction."""
    connection.execute(_insert_image, values)


def replace_image(connection: Connection, current: ImageRecord, values: dict[str, Any]) -> bool:
    """Let the row of `current` describe another object; False when it changed meanwhile."""
    its = {"its_name": current.name, "its_key": current.s3_key}
    return connection.execute(_replace_image, values | its).rowcount == 1


def delete_image(connection: Connection, current: ImageRecord) -> bool:
    """Delete the row of `current`; False when it changed meanwhile."""
    its = {"its_name": current.name, "its_key": current.s3_key}
    return connection.execute(_delete_image, its).rowcount == 1


class Order(NamedTuple):
    """The order of a listing: by one column, ties broken by id."""

    column: str
    descending: bool


def list_images(
    session: Session,
    order: Order,
    *,
    prefix: str = "",
    after: tuple[Any, int] | None = None,
    limit: int,
) -> list[ImageRecord]:
    """Return images whose names begin with `prefix`, from behind (order value, id) `after`.

    Keyset pagination: every page is one range of an index, as cheap at row 1,000,000 as at 10.
    """
    end = _behind_prefix(prefix)
    parameters: dict[str, Any] = {"prefix": prefix, "end": end, "limit": limit}
    parameters["value"], parameters["id"] = after or (None, None)
    bounds = bool(prefix), bool(prefix) and end is not None, after is not None
    return [ImageRecord._make(row) for row in fetch(session, _page(order, *bounds), parameters)]


@functools.cache
def _page(order: Order, from_prefix: bool, to_end: bool, after: bool) -> Select[Any]:  # noqa: FBT001
    """Build the statement of one kind of page."""
    column, id_ = _images.c[order.column], _images.c.id
    statement = _select_image.limit(bindparam("limit"))
    if from_prefix:
        statement = statement.where(_images.c.name >= bindparam("prefix"))
    if to_end:
        statement = statement.where(_images.c.name < bindparam("end"))
    if after:
        value, tie = bindparam("value", type_=column.type), bindparam("id", type_=id_.type)
        # Not a row comparison, for which MySQL would not use the index.
        if order.descending:
            statement = statement.where(column <= value, (column < value) | (id_ < tie))
        else:
            statement = statement.where(column >= value, (column > value) | (id_ > tie))
    keys = (column,) if order.column == "name" else (column, id_)
    return statement.order_by(*(key.desc() if order.descending else key.asc() for key in keys))


def _behind_prefix(prefix: str) -> str | None:
    """The smallest string behind all that begin with `prefix`; None when there is none."""
    stem = prefix.rstrip(chr(0x10FFFF))
    if not stem:
        return None
    successor = ord(stem[-1]) + 1
    # Surrogates are no characters; UTF-8 orders by code point without them.
    return stem[:-1] + chr(0xE000 if successor == 0xD800 else successor)


_draws = [bindparam(f"draw{number}", type_=BigInteger) for number in range(_RANDOM_DRAWS)]
# Two subqueries, because SQLite scans the table for min and max in one SELECT.
_bounds = select(
    select(func.min(_images.c.id)).scalar_subquery().label("low"),
    select(func.max(_images.c.id)).scalar_subquery().label("high"),
).subquery()
_select_draws = select(
    _bounds.c.low, _bounds.c.high, *(_images.c[field] for field in ImageRecord._fields)
).select_from(_bounds.outerjoin(_images, _images.c.id.in_(_draws)))
_select_count = select(func.count()).select_from(_images)
_select_nth = _select_image.order_by(_images.c.id).offset(bindparam("offset")).limit(1)


def random_image(session: Session) -> ImageRecord | None:
    """Return an image, each with exactly the same probability; None when there are none.

    Rejection sampling: of ids drawn uniformly between the smallest and the largest, the first
    that exists is uniform over the rows, however sparse the ids are. The bounds of last time are
    drawn from, and count only when the same statement says that they still hold. Rows so sparse
    that every draw misses are counted instead (66 ms for COUNT and OFFSET at 1 M rows).
    """
    low, high = session.info["id_bounds"][0]
    for _ in range(_RANDOM_ROUNDS):
        ids = range(low, high + 1)
        draws = random.sample(ids, min(_RANDOM_DRAWS, len(ids)))
        draws += draws[:1] * (_RANDOM_DRAWS - len(draws))
        parameters = {draw.key: value for draw, value in zip(_draws, draws, strict=True)}
        rows = fetch(session, _select_draws, parameters)
        drawn_from, (low, high, *_) = (low, high), rows[0]
        if low is None:
            return None
        session.info["id_bounds"][0] = low, high
        found = {row[2]: row[2:] for row in rows}
        hit = next((found[draw] for draw in draws if draw in found), None)
        if hit and drawn_from == (low, high):
            return ImageRecord._make(hit)
    return _random_by_offset(session)


def _random_by_offset(session: Session) -> ImageRecord | None:
    while count := fetch(session, _select_count, {})[0][0]:
        offset = random.randrange(count)  # noqa: S311
        if rows := fetch(session, _select_nth, {"offset": offset}):
            return ImageRecord._make(rows[0])
    return None


# --- the journal --------------------------------------------------------------------------------


_insert_pending = insert(_pending)
_delete_pending = delete(_pending).where(
    _pending.c.s3_key == bindparam("key"), _pending.c.state == bindparam("in_state")
)


def journal(
    connection: Connection,
    key: str,
    state: str,
    now: datetime,
    claimed_at: datetime | None = None,
) -> None:
    """Write down that no image row names the object under `key`.

    An entry of that key aborts the transaction. `claimed_at` is None where no PUT that was given
    up can land later.
    """
    entry = {"s3_key": key, "state": state, "created_at": now, "claimed_at": claimed_at}
    connection.execute(_insert_pending, entry)


def finish_upload(connection: Connection, key: str) -> bool:
    """Remove an upload's entry as its row is written; False when a sweeper took the key."""
    return connection.execute(_delete_pending, {"key": key, "in_state": UPLOADING}).rowcount == 1


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
    connection.execute(_delete_pending, {"key": key, "in_state": TO_DELETE})


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
