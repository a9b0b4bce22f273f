"""Checks the invariants of the write protocol by comparing a bucket with the tables.

I1: the object of every image row exists and is complete. I3: the row describes exactly these
bytes. I5: an object that no row names is in the journal. I6: an image names the original of every
variant. Names and keys are unique, and no key is both in an image row and in the journal.
"""

import hashlib
import io
import time
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from PIL import ExifTags, Image, UnidentifiedImageError
from sqlalchemy import Engine, text

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

Image.MAX_IMAGE_PIXELS = None  # the service has already checked the size

# A single statement is one snapshot on every engine and at every isolation level.
_SNAPSHOT = text(
    "SELECT s3_key, NULL AS state, name, size_bytes, sha256, width, height, extension, content_type"
    " FROM images UNION ALL SELECT s3_key, state, NULL, NULL, NULL, NULL, NULL, NULL, NULL"
    " FROM pending_objects UNION ALL SELECT s3_key, 'V', original_key,"
    " NULL, NULL, NULL, NULL, NULL, NULL FROM variants"
)


class Row(NamedTuple):
    """One row of any table; `state` is the journal's, "V" for a variant, None for an image.

    The `name` of a variant is the key of its original.
    """

    s3_key: str
    state: str | None
    name: str
    size_bytes: int
    sha256: str
    width: int
    height: int
    extension: str
    content_type: str


def violations(engine: Engine, s3: "S3Client", bucket: str, *, patience: float = 3) -> list[str]:
    """Return a description of each violated invariant; empty if all hold.

    A service may still delete objects in the background, so the check repeats for up to `patience`
    seconds, until it finds nothing.
    """
    deadline = time.monotonic() + patience
    while (found := _compare(engine, s3, bucket)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return found


def _compare(engine: Engine, s3: "S3Client", bucket: str) -> list[str]:
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket)
    stored = {entry["Key"] for page in pages for entry in page.get("Contents", [])}
    with engine.connect() as connection:  # after listing: the journal entry precedes the object
        rows = [Row(*row) for row in connection.execute(_SNAPSHOT)]
    images = [row for row in rows if row.state is None]
    originals = {row.s3_key for row in images}
    return [
        *(f"I5: no row names object {key}" for key in stored - {row.s3_key for row in rows}),
        *(f"key {key} is used {n} times" for key, n in _repeated(row.s3_key for row in rows)),
        *(
            f"I6: no image names the original of variant {row.s3_key}"
            for row in rows
            if row.state == "V" and row.name not in originals
        ),
        *(f"name {name!r} has {n} rows" for name, n in _repeated(row.name for row in images)),
        *(problem for row in images for problem in _problems(row, s3, bucket)),
    ]


def _repeated(values: Iterator[str]) -> list[tuple[str, int]]:
    return [(value, n) for value, n in Counter(values).items() if n > 1]


def _problems(row: Row, s3: "S3Client", bucket: str) -> Iterator[str]:
    """Compare an image row with the bytes of its object."""
    who = f"image {row.name!r} ({row.s3_key})"
    try:
        body = s3.get_object(Bucket=bucket, Key=row.s3_key)["Body"].read()
    except s3.exceptions.NoSuchKey:
        yield f"I1: {who} has no object"
        return
    if len(body) != row.size_bytes:
        yield f"I1: {who} has {len(body)} bytes, its row states {row.size_bytes}"
    if (digest := hashlib.sha256(body).hexdigest()) != row.sha256:
        yield f"I1: {who} has SHA-256 {digest}, its row states {row.sha256}"
    if (actual := _described(body)) != (recorded := _recorded(row)):
        yield f"I3: {who} is {actual}, its row states {recorded}"


def _described(body: bytes) -> tuple[int, int, str, str] | None:
    """Return width, height, format and content type of a picture, or None for other bytes."""
    try:
        with Image.open(io.BytesIO(body)) as picture:
            # MPO is a JPEG that contains further pictures.
            kind = "JPEG" if picture.format == "MPO" else str(picture.format)
            exif = Image.Exif()  # only what precedes the pixels; `getexif` would decode them
            exif.load(picture.info.get("exif", b""))
            turned = exif.get(ExifTags.Base.Orientation, 1) in range(5, 9)
            width, height = picture.size[::-1] if turned else picture.size
            return width, height, kind, Image.MIME[kind]
    except UnidentifiedImageError:
        return None


def _recorded(row: Row) -> tuple[int, int, str | None, str]:
    kind = Image.registered_extensions().get(f".{row.extension.lower()}")
    return row.width, row.height, kind, row.content_type
