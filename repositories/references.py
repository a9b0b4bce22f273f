"""The SQL statements on all rows that name objects, whatever their table."""

import heapq
from collections.abc import Iterator
from operator import attrgetter
from typing import Any, NamedTuple, cast

from sqlalchemy import Connection, Table, null, select, union_all

from db import Image, PendingObject, Variant

_KEYS_PAGE = 1000

_images = cast("Table", Image.__table__)
_pending = cast("Table", PendingObject.__table__)
_variants = cast("Table", Variant.__table__)


class Reference(NamedTuple):
    """A row that names an object. A variant has no name; a journal entry has only the key."""

    s3_key: str
    name: str | None
    size_bytes: int | None
    sha256: str | None

    @property
    def is_image(self) -> bool:
        """Whether the row is that of an image."""
        return self.name is not None

    @property
    def is_variant(self) -> bool:
        """Whether the row is that of a variant."""
        return self.name is None and self.sha256 is not None


_references = [
    select(_images.c.s3_key, _images.c.name, _images.c.size_bytes, _images.c.sha256),
    select(_pending.c.s3_key, *[null()] * 3),
    # No client can request a variant whose original no image names, so it does not count.
    select(_variants.c.s3_key, null(), _variants.c.size_bytes, _variants.c.sha256).join_from(
        _variants, _images, _images.c.s3_key == _variants.c.original_key
    ),
]


def read_all(connection: Connection) -> Iterator[Reference]:
    """Yield all references in byte order of their keys, with one page per table in memory.

    Only a snapshot makes them consistent.
    """
    tables = (_by_key(connection, statement) for statement in _references)
    return heapq.merge(*tables, key=attrgetter("s3_key"))


def _by_key(connection: Connection, statement: Any) -> Iterator[Reference]:
    """Yield keyset pages, because server-side cursors time out and differ between engines."""
    key = statement.selected_columns.s3_key
    page = statement.order_by(key).limit(_KEYS_PAGE)
    rows = connection.execute(page).all()
    while rows:
        yield from (Reference(*row) for row in rows)
        rows = connection.execute(page.where(key > rows[-1].s3_key)).all()


def read_of_key(connection: Connection, key: str) -> list[Reference]:
    """Return the references to the object of a key, with one statement."""
    statement = union_all(
        *(rows.where(rows.selected_columns.s3_key == key) for rows in _references)
    )
    return [Reference(*row) for row in connection.execute(statement)]
