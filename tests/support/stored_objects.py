"""Objects in a bucket, put and read as the service does, through `s3_client.Bucket`."""

import hashlib
import io
from collections.abc import Iterator
from contextlib import contextmanager

from s3_client import Bucket, generate_s3_key

TEN = b"0123456789"


def put(bucket: Bucket, key: str, body: bytes, name: str = "") -> None:
    """Store an object as the service does."""
    digest = hashlib.sha256(body).hexdigest()
    bucket.upload_image(io.BytesIO(body), key, "image/png", sha256=digest, name=name)


def get(bucket: Bucket, key: str, part: tuple[int, int] | None = None) -> bytes:
    """Return an object or a part of it."""
    return bucket.download_image(key, part).read_all()


@contextmanager
def stored(bucket: Bucket, *keys: str, body: bytes = TEN) -> Iterator[None]:
    """Have these objects while the block runs."""
    try:
        for key in keys:
            put(bucket, key, body)
        yield
    finally:
        for key in keys:
            bucket.delete_image(key)


def new_key() -> str:
    """Return a key that was never used."""
    return generate_s3_key("contract", "png")
