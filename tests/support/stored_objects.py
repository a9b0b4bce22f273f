"""Stores and reads objects through `s3_client.Bucket`, as the service does."""

import hashlib
import io
from collections.abc import Iterator
from contextlib import contextmanager

from s3_client import Bucket, generate_s3_key

TEN = b"0123456789"


def put(bucket: Bucket, key: str, body: bytes, name: str = "") -> None:
    """Store an object with its SHA-256 and the name of its image."""
    digest = hashlib.sha256(body).hexdigest()
    bucket.upload_image(io.BytesIO(body), key, "image/png", sha256=digest, name=name)


def get(bucket: Bucket, key: str, part: tuple[int, int] | None = None) -> bytes:
    """Return the bytes of an object, or of a part of it."""
    return bucket.download_image(key, part).read_all()


@contextmanager
def stored(bucket: Bucket, *keys: str, body: bytes = TEN) -> Iterator[None]:
    """Store these objects while the block runs."""
    try:
        for key in keys:
            put(bucket, key, body)
        yield
    finally:
        for key in keys:
            bucket.delete_image(key)


def new_key() -> str:
    """Return a new, unused key."""
    return generate_s3_key("contract", "png")
