"""Every SQL statement on `images`.

Functions that change one row return whether they did. The write protocol depends on it.
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


# Statements select columns, not entities, which takes a third of the CPU. They are built once,
# because building one takes as long as the database needs to run it.
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
    """Return the image `name`, or None. Raises DatabaseUnavailableError."""
    rows = fetch(session, _select_by_name, {"name": name})
    return ImageRecord._make(rows[0]) if rows else None


def existing_names(session: Session, names: Iterable[str]) -> set[str]:
    """Return the names that have an image, with one SELECT for each page of names."""
    existing: set[str] = set()
    remaining = iter(names)
    with reading(session) as connection:
        while page := list(islice(remaining, _PAGE_ROWS)):
            existing.update(connection.scalars(_select_names, {"names": page}))
    return existing


def lock_image(connection: Connection, name: str) -> ImageRecord | None:
    """Return the image `name`, or None, and lock its row until the transaction ends."""
    row = connection.execute(_select_by_name_locked, {"name": name}).first()
    return ImageRecord._make(row) if row else None


def read_all(connection: Connection) -> Iterator[ImageRecord]:
    """Yield all images by id, with one page in memory. Only a snapshot makes them consistent."""
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
    """Replace the values of the row `current`; return False if it has changed since."""
    its = {"its_name": current.name, "its_key": current.s3_key}
    return connection.execute(_replace_image, values | its).rowcount == 1


def delete_image(connection: Connection, current: ImageRecord) -> bool:
    """Delete the row `current`; return False if it has changed since."""
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
    """Return the images whose names begin with `prefix`, after the (order value, id) `after`.

    `order` is a column; a minus sign makes it descending. The id decides among equal values.
    Keyset pagination reads one range of an index, so row 1,000,000 is as fast as row 10. Raises
    DatabaseUnavailableError.
    """
    end = _after_prefix(prefix)
    parameters: dict[str, Any] = {"prefix": prefix, "end": end, "limit": limit}
    parameters["value"], parameters["id"] = after or (None, None)
    bounds = bool(prefix), bool(prefix) and end is not None, after is not None
    return [ImageRecord._make(row) for row in fetch(session, _page(order, *bounds), parameters)]


@functools.cache
def _page(order: str, from_prefix: bool, to_end: bool, after: bool) -> Select[Any]:  # noqa: FBT001
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
    """Return the smallest string that is greater than all with this prefix; None without one."""
    stem = prefix.rstrip(chr(0x10FFFF))
    if not stem:
        return None
    successor = ord(stem[-1]) + 1
    # UTF-8 has no surrogates.
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
    """Picks random images, and remembers the lowest and highest id. Each engine has its own."""

    def __init__(self) -> None:
        self._bounds = (1, 1)

    def pick(self, session: Session) -> ImageRecord | None:
        """Return a uniformly random image, or None if there are none.

        Rejection sampling: among ids that are drawn uniformly between the lowest and the highest,
        the first one that exists is uniform over the rows. The remembered bounds must equal those
        that the same statement reads, or the draw does not count. If all draws miss, COUNT and
        OFFSET pick a row (66 ms at 1,000,000 rows). Raises DatabaseUnavailableError.
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
            by_id = {row[2]: row[2:] for row in rows}
            hit = next((by_id[draw] for draw in draws if draw in by_id), None)
            if hit and drawn_from == (low, high):
                return ImageRecord._make(hit)
        return _random_by_offset(session)


def _random_by_offset(session: Session) -> ImageRecord | None:
    while count := fetch(session, _select_count, {})[0][0]:
        offset = random.randrange(count)  # noqa: S311
        if rows := fetch(session, _select_nth, {"offset": offset}):
            return ImageRecord._make(rows[0])
    return None
