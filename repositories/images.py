"""Every SQL statement on `images`, as functions on a connection.

Functions that change exactly one row return whether they did; the write protocol depends on it.
"""

import functools
import random
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from itertools import islice
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
    select,
    update,
)
from sqlalchemy.orm import Session

from db import Image, fetch, lock_rows, reading

_PAGE_ROWS = 1000
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
    created_by: str | None = None


# Statements use tables, not mapped classes, and are built once: a read of columns takes a third of
# the CPU of a read of entities, and building a statement takes as long as the database.
_images = cast(Table, Image.__table__)
_select_image = select(*(_images.c[field] for field in ImageRecord._fields))
_select_after = (
    _select_image.where(_images.c.id > bindparam("id")).order_by(_images.c.id).limit(_PAGE_ROWS)
)
_select_by_name = _select_image.where(_images.c.name == bindparam("name"))
_select_names = select(_images.c.name).where(_images.c.name.in_(bindparam("names", expanding=True)))
_select_by_name_locked = lock_rows(_select_by_name, _images)
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


def existing_names(session: Session, names: Iterable[str]) -> set[str]:
    """Return which of these are names of images, in one SELECT for a page of names."""
    found: set[str] = set()
    pages = iter(names)
    with reading(session) as connection:
        while page := list(islice(pages, _PAGE_ROWS)):
            found.update(connection.scalars(_select_names, {"names": page}))
    return found


def lock_image(connection: Connection, name: str) -> ImageRecord | None:
    """Return the image called `name`, or None; lock its row until the transaction ends."""
    row = connection.execute(_select_by_name_locked, {"name": name}).first()
    return ImageRecord._make(row) if row else None


def read_all(connection: Connection) -> Iterator[ImageRecord]:
    """Yield all images in the order of their ids, a page at a time.

    They are consistent only if the transaction is a snapshot.
    """
    last = 0
    while rows := connection.execute(_select_after, {"id": last}).all():
        yield from map(ImageRecord._make, rows)
        last = rows[-1].id


def insert_image(connection: Connection, values: dict[str, Any]) -> None:
    """Insert a new image row. An existing name aborts the transaction."""
    connection.execute(_insert_image, values)


def insert_images(connection: Connection, rows: Sequence[dict[str, Any]]) -> None:
    """Insert new image rows in one statement. An existing name aborts the transaction."""
    connection.execute(_insert_image, rows)


def replace_image(connection: Connection, current: ImageRecord, values: dict[str, Any]) -> bool:
    """Change the row of `current` to another object; False if it has changed since."""
    its = {"its_name": current.name, "its_key": current.s3_key}
    return connection.execute(_replace_image, values | its).rowcount == 1


def delete_image(connection: Connection, current: ImageRecord) -> bool:
    """Delete the row of `current`; False if it has changed since."""
    its = {"its_name": current.name, "its_key": current.s3_key}
    return connection.execute(_delete_image, its).rowcount == 1


def list_images(
    session: Session,
    order: str,
    *,
    prefix: str = "",
    after: tuple[Any, int] | None = None,
    limit: int,
) -> list[ImageRecord]:
    """Return the images that begin with `prefix` and follow (order value, id) `after`.

    `order` is a column, descending after a minus sign; the id decides among equals.
    Keyset pagination: each page is one range of an index, so row 1,000,000 is as fast as row 10.
    """
    end = _after_prefix(prefix)
    parameters: dict[str, Any] = {"prefix": prefix, "end": end, "limit": limit}
    parameters["value"], parameters["id"] = after or (None, None)
    bounds = bool(prefix), bool(prefix) and end is not None, after is not None
    return [ImageRecord._make(row) for row in fetch(session, _page(order, *bounds), parameters)]


@functools.cache
def _page(order: str, from_prefix: bool, to_end: bool, after: bool) -> Select[Any]:  # noqa: FBT001
    """Build the statement of one kind of page."""
    descending, by = order.startswith("-"), order.removeprefix("-")
    column, id_ = _images.c[by], _images.c.id
    statement = _select_image.limit(bindparam("limit"))
    if from_prefix:
        statement = statement.where(_images.c.name >= bindparam("prefix"))
    if to_end:
        statement = statement.where(_images.c.name < bindparam("end"))
    if after:
        value, tie = bindparam("value", type_=column.type), bindparam("id", type_=id_.type)
        # MySQL does not use the index for a row comparison.
        if descending:
            statement = statement.where(column <= value, (column < value) | (id_ < tie))
        else:
            statement = statement.where(column >= value, (column > value) | (id_ > tie))
    keys = (column,) if by == "name" else (column, id_)
    return statement.order_by(*(key.desc() if descending else key.asc() for key in keys))


def _after_prefix(prefix: str) -> str | None:
    """Return the smallest string after all that begin with `prefix`; None if there is none."""
    stem = prefix.rstrip(chr(0x10FFFF))
    if not stem:
        return None
    successor = ord(stem[-1]) + 1
    # UTF-8 orders by code point, and has no surrogates.
    return stem[:-1] + chr(0xE000 if successor == 0xD800 else successor)


_draws = [bindparam(f"draw{number}", type_=BigInteger) for number in range(_RANDOM_DRAWS)]
# Two subqueries: in one, SQLite scans the whole table for both.
_bounds = select(
    select(func.min(_images.c.id)).scalar_subquery().label("low"),
    select(func.max(_images.c.id)).scalar_subquery().label("high"),
).subquery()
_select_draws = select(
    _bounds.c.low, _bounds.c.high, *(_images.c[field] for field in ImageRecord._fields)
).select_from(_bounds.outerjoin(_images, _images.c.id.in_(_draws)))
_select_count = select(func.count()).select_from(_images)
_select_nth = _select_image.order_by(_images.c.id).offset(bindparam("offset")).limit(1)


class RandomImages:
    """Picks random images; remembers the lowest and highest id. Each engine needs its own."""

    def __init__(self) -> None:
        self._bounds = (1, 1)

    def pick(self, session: Session) -> ImageRecord | None:
        """Return an image, each with the same probability; None if there are no images.

        Rejection sampling: of ids drawn uniformly between the lowest and the highest, the first
        that exists is uniform over the rows, however sparse they are. The draw uses the remembered
        bounds and counts only if the same statement confirms them. If every draw misses, COUNT and
        OFFSET pick a row (66 ms at 1,000,000 rows).
        """
        low, high = self._bounds
        for _ in range(_RANDOM_ROUNDS):
            ids = range(low, high + 1)
            draws = random.sample(ids, min(_RANDOM_DRAWS, len(ids)))
            draws += draws[:1] * (_RANDOM_DRAWS - len(draws))
            parameters = {draw.key: value for draw, value in zip(_draws, draws, strict=True)}
            rows = fetch(session, _select_draws, parameters)
            drawn_from, (low, high, *_) = (low, high), rows[0]
            if low is None:
                return None
            self._bounds = low, high
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
