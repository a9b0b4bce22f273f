"""Every SQL statement on `variants`.

A variant belongs to an object, not to a name: it is looked up by the key that the image's row has
now, so that none of an overwritten image is ever found.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple, cast

from sqlalchemy import BindParameter, Connection, Table, and_, bindparam, delete, insert, select
from sqlalchemy.orm import Session

from db import Image, Variant, fetch
from repositories.images import ImageRecord

MOST_SPECS = 4
BEFORE_ALL_KEYS = " "  # no key begins so; to Oracle an empty string is NULL


class VariantRecord(NamedTuple):
    """The columns of one variant's row."""

    original_key: str
    spec: str
    s3_key: str
    size_bytes: int
    content_type: str
    sha256: str
    width: int
    height: int
    created_at: datetime


_images = cast("Table", Image.__table__)
_variants = cast("Table", Variant.__table__)
_specs: list[BindParameter[str]] = [bindparam(f"spec_{i}") for i in range(MOST_SPECS)]
_of_image = and_(_variants.c.original_key == _images.c.s3_key, _variants.c.spec.in_(_specs))
_select_with_image = (
    select(
        *(_images.c[field] for field in ImageRecord._fields),
        *(_variants.c[field].label(f"variant_{field}") for field in VariantRecord._fields),
    )
    .select_from(_images.outerjoin(_variants, _of_image))
    .where(_images.c.name == bindparam("name"))
)
_insert_variant = insert(_variants)
_delete_variant = delete(_variants).where(_variants.c.s3_key == bindparam("key"))
_after = _variants.c.s3_key > bindparam("after")
_select_key = select(_variants.c.s3_key).where(_after).order_by(_variants.c.s3_key)
_select_unnamed = (
    select(_variants.c.s3_key)
    .select_from(_variants.outerjoin(_images, _images.c.s3_key == _variants.c.original_key))
    .where(_images.c.id.is_(None), _after)
)


def find_image_with_variants(
    session: Session, name: str, specs: Sequence[str]
) -> tuple[ImageRecord, dict[str, VariantRecord]] | None:
    """Return an image and those of its variants that exist, by spec; None without the image.

    `specs` are MOST_SPECS at most. One statement, and so of one moment.
    """
    padded = list(specs) + [specs[0]] * (MOST_SPECS - len(specs))
    parameters = {f"spec_{i}": spec for i, spec in enumerate(padded)}
    rows = fetch(session, _select_with_image, {"name": name} | parameters)
    if not rows:
        return None
    columns = len(ImageRecord._fields)
    records = [VariantRecord._make(row[columns:]) for row in rows if row[columns] is not None]
    return ImageRecord._make(rows[0][:columns]), {record.spec: record for record in records}


def insert_variant(connection: Connection, record: VariantRecord) -> None:
    """Insert a variant. One of the same original and spec aborts the transaction."""
    connection.execute(_insert_variant, record._asdict())


def delete_variant(connection: Connection, key: str) -> bool:
    """Delete the variant whose object is under `key`; False where there is none (any more)."""
    return connection.execute(_delete_variant, {"key": key}).rowcount == 1


def unnamed_variants(
    connection: Connection, after: str, slice_rows: int
) -> tuple[list[str], str | None]:
    """Return keys of variants whose original no image names any more, and where to go on.

    Of the next `slice_rows` keys greater than `after`, so that no statement takes long however many
    variants there are; None where there are no more.
    """
    last = connection.scalar(_select_key.offset(slice_rows - 1).limit(1), {"after": after})
    statement = _select_unnamed
    if last is not None:
        statement = statement.where(_variants.c.s3_key <= last)
    return list(connection.scalars(statement, {"after": after})), last
