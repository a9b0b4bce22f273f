"""Every SQL statement on `variants`.

A variant belongs to an object, not to a name. Requests look it up by the key in the row of the
image, so they never find a variant of an overwritten image.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple, cast

from sqlalchemy import BindParameter, Connection, Table, and_, bindparam, delete, insert, select
from sqlalchemy.orm import Session

from db import Image, Variant, fetch, lock_rows
from repositories.images import ImageRecord

_MAX_SPECS = 4
BEFORE_ALL_KEYS = " "  # precedes all keys and specs; Oracle treats "" as NULL


class VariantRecord(NamedTuple):
    """The columns of a variant's row."""

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
_specs: list[BindParameter[str]] = [bindparam(f"spec_{i}") for i in range(_MAX_SPECS)]
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
_is_of = and_(
    _variants.c.original_key == bindparam("original"),
    _variants.c.spec.not_like(bindparam("kept")),
)
_lock_keys = lock_rows(select(_variants.c.s3_key).where(_is_of), _variants)
_delete_variants = delete(_variants).where(_is_of)
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
    """Return an image and those of its variants with one to four `specs`, by spec.

    Returns None if there is no image. Raises DatabaseUnavailableError.
    """
    padded = list(specs) + [specs[0]] * (_MAX_SPECS - len(specs))
    parameters = {f"spec_{i}": spec for i, spec in enumerate(padded)}
    rows = fetch(session, _select_with_image, {"name": name} | parameters)
    if not rows:
        return None
    columns = len(ImageRecord._fields)
    records = [VariantRecord._make(row[columns:]) for row in rows if row[columns] is not None]
    return ImageRecord._make(rows[0][:columns]), {record.spec: record for record in records}


def insert_variant(connection: Connection, record: VariantRecord) -> None:
    """Insert a variant. An existing one of this original and spec aborts the transaction."""
    connection.execute(_insert_variant, record._asdict())


def delete_variant(connection: Connection, key: str) -> bool:
    """Delete the variant whose object has this key; return False if there is none."""
    return connection.execute(_delete_variant, {"key": key}).rowcount == 1


def delete_variants(
    connection: Connection, original_key: str, keep: str = BEFORE_ALL_KEYS
) -> Sequence[str]:
    """Delete the variants of an object, and return their keys.

    Variants whose spec begins with `keep` remain; by default, no spec does.
    """
    parameters = {"original": original_key, "kept": f"{keep}%"}
    keys = connection.scalars(_lock_keys, parameters).all()
    if keys:
        connection.execute(_delete_variants, parameters)
    return keys


def unnamed_variants(
    connection: Connection, after: str, slice_rows: int
) -> tuple[list[str], str | None]:
    """Return keys of variants whose original no image names, and the last key that was examined.

    Examines `slice_rows` variants after the key `after`, so that no statement takes long. The last
    key is None if no variants follow. Only releases without variants leave such rows behind.
    """
    last = connection.scalar(_select_key.offset(slice_rows - 1).limit(1), {"after": after})
    statement = _select_unnamed
    if last is not None:
        statement = statement.where(_variants.c.s3_key <= last)
    return list(connection.scalars(statement, {"after": after})), last
