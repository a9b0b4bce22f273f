"""Variants: found, or made and stored by the write protocol (write_protocol.py).

A variant holds nothing that its original does not: a lost one is made again, and one that cannot be
stored is answered all the same.
"""

import hashlib
import io
import logging
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import IO

from sqlalchemy import Connection
from sqlalchemy.orm import Session

from config import FORMATS, Settings, VariantSpec
from errors import (
    ImageLostError,
    ImageNotFoundError,
    ObjectMissingError,
    UnavailableError,
    WriteConflictError,
)
from imaging.decoding.memory_file import memory_file
from imaging.decoding.variant_maker import EncodedPicture, VariantMaker
from repositories import images, variants
from repositories.images import ImageRecord
from repositories.variants import VariantRecord
from s3_client import Bucket, ObjectBody
from services.maintenance.sweeper import journal_variant
from services.names import normalise_name
from services.write_protocol import NewObject, WriteProtocol, retry

logger = logging.getLogger("image_api")

_CHUNK_BYTES = 1024 * 1024
_IN_MEMORY_BYTES = 8 * 1024 * 1024
# Of an animation the first frame is shown, and that without loss.
_OWN_KIND = {"jpg": "jpg", "jpeg": "jpg", "png": "png", "gif": "png", "webp": "webp"}


@dataclass(frozen=True, slots=True)
class VariantChoice:
    """Which variant a request asks for: a spec, and an encoding.

    An empty `encoding_asked` leaves the encoding to the image: its own kind where that is among
    `encodings`, of which there are four at most, and else the first of them.
    """

    spec: VariantSpec
    encoding_asked: str
    encodings: tuple[str, ...]

    def specs(self) -> list[str]:
        """Return how the variants are stored that may be the answer, such as `320.webp`."""
        encodings = [self.encoding_asked] if self.encoding_asked else self.encodings
        return [f"{self.spec}.{encoding}" for encoding in encodings]

    def encoding(self, extension: str) -> str:
        """Return the encoding for an image with that extension."""
        if self.encoding_asked:
            return self.encoding_asked
        own = _OWN_KIND[extension]
        return own if own in self.encodings else self.encodings[0]


@dataclass(frozen=True, slots=True)
class Variant:
    """A variant as it is delivered: like an image, with its `content` where it was just made.

    One that this process made and has not stored has no key.
    """

    image: ImageRecord
    content: bytes | None = None


class KeptContent:
    """Bytes in memory, read like those of an object."""

    def __init__(self, content: bytes) -> None:
        self._file = io.BytesIO(content)

    def read(self, size: int) -> bytes:
        """Return the next bytes, at most `size`."""
        return self._file.read(size)

    def read_all(self, size: int) -> bytes:
        """Return all `size` bytes."""
        return self._file.read(size)

    def close(self) -> None:
        """Nothing is open."""


class VariantMissingError(Exception):
    """The variant named `key` must be made first: `make` does, for as long as that takes.

    It returns the variant, or None where its original is gone.
    """

    def __init__(self, key: tuple[str, str], make: Callable[[], Variant | None]) -> None:
        super().__init__(key)
        self.key = key
        self.make = make


class VariantStore:
    """All that can be done with variants, on one database session and one bucket."""

    def __init__(
        self, session: Session, bucket: Bucket, maker: VariantMaker, settings: Settings
    ) -> None:
        self._session = session
        self._bucket = bucket
        self._protocol = WriteProtocol(session, bucket, settings)
        self._maker = maker

    def find(self, name: str, choice: VariantChoice) -> Variant:
        """Return the variant of the image `name`.

        Raises VariantMissingError, InvalidNameError, ImageNotFoundError or
        DatabaseUnavailableError.
        """
        specs = choice.specs()
        found = variants.find_image_with_variants(self._session, normalise_name(name), specs)
        if found is None:
            raise ImageNotFoundError
        image, stored = found
        encoding = choice.encoding(image.extension)
        spec = f"{choice.spec}.{encoding}"
        if record := stored.get(spec):
            return Variant(_delivered(image, record, encoding))
        make = partial(self._make, image, choice.spec, encoding)
        raise VariantMissingError((image.s3_key, spec), make)

    def open_object(
        self, variant: Variant, first: int, last: int
    ) -> ObjectBody | KeptContent | None:
        """Open the bytes `first` to `last` inclusive of a variant.

        None when its object is gone or not whole: then its row is, too, so that it is made again.
        Raises StorageUnavailableError, DatabaseUnavailableError or WriteConflictError.
        """
        image = variant.image
        if variant.content is not None:
            return KeptContent(variant.content[first : last + 1])
        whole = (first, last) == (0, image.size_bytes - 1)
        try:
            body = self._bucket.download_image(image.s3_key, None if whole else (first, last))
        except ObjectMissingError:
            self._forget(image.s3_key)
            return None
        if body.length != last - first + 1:
            body.close()
            self._forget(image.s3_key)
            return None
        return body

    def presigned_url(self, variant: Variant, method: str, headers: dict[str, str]) -> str:
        """Return a URL at which S3 itself answers `method` with the variant and `headers`."""
        return self._bucket.presigned_url(method, variant.image.s3_key, headers)

    def _forget(self, key: str) -> None:
        logger.warning("Variant %s is lost: it is made again", key)
        retry(lambda _: journal_variant(self._session, key))

    def _make(self, image: ImageRecord, spec: VariantSpec, encoding: str) -> Variant | None:
        """Make a variant and store it if that can be done; return it.

        None where its original is gone. Raises VariantNotFoundError, ImageLostError or
        UnavailableError.
        """
        with _original_file(image.size_bytes) as original:
            try:
                self._download(image, original)
            except ObjectMissingError:
                self._require_replaced(image)
                return None
            made = self._maker.make(original, image.extension, spec, encoding)
        record = _record(image, f"{spec}.{encoding}", made)
        try:
            record = self._stored(record, image.name, encoding, made.content)
        except UnavailableError:
            logger.warning(
                "Variant %s of %s is not stored", record.spec, image.s3_key, exc_info=True
            )
        return Variant(_delivered(image, record, encoding), made.content)

    def _download(self, image: ImageRecord, file: IO[bytes]) -> None:
        body = self._bucket.download_image(image.s3_key)
        if body.length != image.size_bytes:
            body.close()
            logger.critical("Object %s is not as long as image row %d says", image.s3_key, image.id)
            raise ImageLostError
        while chunk := body.read(_CHUNK_BYTES):
            file.write(chunk)
        file.flush()

    def _require_replaced(self, image: ImageRecord) -> None:
        current = images.find_image(self._session, image.name)
        if current and current.s3_key == image.s3_key:
            logger.critical("Image row %d has no object %s", image.id, image.s3_key)
            raise ImageLostError

    def _stored(
        self, record: VariantRecord, name: str, encoding: str, content: bytes
    ) -> VariantRecord:
        """Store a variant, unless somebody else has; return its row. Raises UnavailableError."""

        def insert(connection: Connection, key: str, _attempt: int) -> VariantRecord:
            stored = record._replace(s3_key=key)
            variants.insert_variant(connection, stored)
            return stored

        new = NewObject(io.BytesIO(content), name, encoding, record.content_type, record.sha256)
        try:
            return self._protocol.store_object(new, insert, attempts=1)
        except WriteConflictError:  # the primary key says that somebody was faster
            return record


def _original_file(size: int) -> AbstractContextManager[IO[bytes]]:
    return memory_file() if size <= _IN_MEMORY_BYTES else tempfile.TemporaryFile()


def _record(image: ImageRecord, spec: str, made: EncodedPicture) -> VariantRecord:
    return VariantRecord(
        image.s3_key,
        spec,
        s3_key="",
        size_bytes=len(made.content),
        content_type=FORMATS[spec.rpartition(".")[2]],
        sha256=hashlib.sha256(made.content).hexdigest(),
        width=made.width,
        height=made.height,
        created_at=datetime.now(UTC),
    )


def _delivered(image: ImageRecord, record: VariantRecord, encoding: str) -> ImageRecord:
    """Return the record of an image that is this variant."""
    return ImageRecord(
        *(image.id, image.name, record.size_bytes, encoding, record.content_type, record.sha256),
        *(record.width, record.height, record.s3_key, image.created_at, record.created_at),
    )
