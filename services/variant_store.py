"""Variants: found in the database, or made and stored by the write protocol.

A variant can be made again from its original at any time. So a lost variant raises no alarm, and a
variant that cannot be stored is delivered nevertheless.
"""

import hashlib
import io
import tempfile
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import IO

from sqlalchemy import Connection
from sqlalchemy.orm import Session

from config import FORMATS, VARIANT_MEDIA_TYPES, Settings
from errors import (
    ImageNotFoundError,
    UnavailableError,
    VariantNotFoundError,
    WriteConflictError,
)
from imaging.decoding.memory_file import memory_file
from imaging.decoding.variant_maker import EncodedPicture, VariantMaker
from repositories import images, variants
from repositories.images import ImageRecord
from repositories.variants import VariantRecord
from s3_client import Bucket, ObjectBody
from services.failed_variants import FailedVariants
from services.names import normalise_name
from services.read_protocol import describe_replacement, open_object
from services.variant_formats import CURRENT_RENDERER, VariantChoice
from services.write_protocol import (
    NewObject,
    WriteProtocol,
    journal_outdated_variants,
    journal_variant,
)
from telemetry import logger

_CHUNK_BYTES = 1024 * 1024
_IN_MEMORY_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Variant:
    """A variant of `original`, described like an image; with its `content` if it was just made.

    Its key is empty if it could not be stored, or if another process stored it first.
    """

    original: ImageRecord
    image: ImageRecord
    content: bytes | None = None

    @property
    def is_stored(self) -> bool:
        """Whether it has a key."""
        return bool(self.image.s3_key)


class KeptContent(io.BytesIO):
    """Bytes in memory, with the interface of an object's body."""

    def read_all(self, size: int) -> bytes:
        """Return all `size` bytes."""
        return self.read(size)


@dataclass(frozen=True, slots=True)
class MissingVariant:
    """A variant that is not stored, for `VariantStore.make`."""

    image: ImageRecord
    choice: VariantChoice

    @property
    def key(self) -> tuple[str, str]:
        """Identifies the variant of this version of the image."""
        return self.image.s3_key, self.choice.spec_for(self.image)


class VariantStore:
    """The use cases of variants, on one database session and one bucket."""

    def __init__(
        self,
        session: Session,
        bucket: Bucket,
        maker: VariantMaker,
        settings: Settings,
        failures: FailedVariants | None = None,
    ) -> None:
        self._session = session
        self._failures = failures or FailedVariants()
        self._bucket = bucket
        self._protocol = WriteProtocol(session, bucket, settings)
        self._maker = maker

    def find(self, name: str, choice: VariantChoice) -> Variant | MissingVariant:
        """Return the variant of the image `name` if it is stored, else what `make` needs.

        Raises InvalidNameError, ImageNotFoundError, DatabaseUnavailableError, and
        VariantNotFoundError if it could not be made within the last hour.
        """
        specs = choice.specs()
        rows = variants.find_image_with_variants(self._session, normalise_name(name), specs)
        if rows is None:
            raise ImageNotFoundError
        image, stored = rows
        record = stored.get(choice.spec_for(image))
        if record is None:
            missing = MissingVariant(image, choice)
            self._failures.require_promising(missing.key)
            return missing
        return Variant(image, _delivered(image, record))

    def make(self, missing: MissingVariant) -> Variant:
        """Make a variant, store it if possible, and return it with its content.

        If the image has been replaced since, the variant is that of the replacement. Raises
        ImageNotFoundError, VariantNotFoundError, ImageLostError or UnavailableError.
        """
        image, choice = missing.image, missing.choice
        while (body := open_object(self._bucket, image, 0, image.size_bytes - 1)) is None:
            image = describe_replacement(self._session, image)
        with _original_file(image.size_bytes) as original:
            _copy(body, original)
            pixels = image.width * image.height
            encoding = choice.encoding(image.extension)
            kind = FORMATS[image.extension].name
            try:
                made = self._maker.make(original, kind, pixels, choice.spec, encoding)
            except VariantNotFoundError as exc:
                self._failures.note(MissingVariant(image, choice).key, exc)
                raise
        record = _record(image, choice.spec_for(image), made)
        try:
            record = self._stored(record, image, made.content)
        except UnavailableError:
            logger.warning(
                "Variant %s of %s is not stored", record.spec, image.s3_key, exc_info=True
            )
        return Variant(image, _delivered(image, record), made.content)

    def open_object(
        self, variant: Variant, first: int, last: int
    ) -> ObjectBody | KeptContent | None:
        """Open the bytes `first` to `last` inclusive of a variant; None if its object is lost.

        Deletes the row of a lost variant, so that the next `find` does not return it. Raises
        StorageUnavailableError, DatabaseUnavailableError or WriteConflictError.
        """
        if variant.content is not None:
            return KeptContent(variant.content[first : last + 1])
        body = open_object(self._bucket, variant.image, first, last)
        if body is None:
            self._forget(variant.image.s3_key)
        return body

    def presigned_url(
        self, variant: Variant, method: str, headers: dict[str, str], until: datetime | None
    ) -> str | None:
        """Return a URL at which S3 answers `method` with the variant and `headers`; None if lost.

        A client that follows a redirect cannot report a lost object, so a HEAD request checks it
        first. A lost variant is forgotten, and errors are raised, as in `open_object`.
        """
        image = variant.image
        if variant.content is None and not self._bucket.has_object(image.s3_key, image.size_bytes):
            self._forget(image.s3_key)
            return None
        return self._bucket.presigned_url(method, image.s3_key, headers, until)

    def _forget(self, key: str) -> None:
        logger.warning("Variant %s is lost; it is made again", key)
        journal_variant(self._session, key)

    def _stored(self, record: VariantRecord, image: ImageRecord, content: bytes) -> VariantRecord:
        """Store a variant, unless another process has or the original is gone; return its row.

        Raises UnavailableError.
        """

        def insert(connection: Connection, key: str, _attempt: int) -> VariantRecord:
            # The lock prevents a replacement or deletion of the original until the commit.
            current = images.lock_image(connection, image.name)
            if current is None or current.s3_key != image.s3_key:
                raise ImageNotFoundError
            stored = record._replace(s3_key=key)
            journal_outdated_variants(connection, image.s3_key, CURRENT_RENDERER)
            variants.insert_variant(connection, stored)
            return stored

        file, extension = io.BytesIO(content), _encoding(record.spec)
        new = NewObject(file, image.name, extension, record.content_type, record.sha256)
        try:
            return self._protocol.store_object(new, insert, attempts=1)
        except (WriteConflictError, ImageNotFoundError):  # stored already, or original gone
            return record


def _original_file(size: int) -> AbstractContextManager[IO[bytes]]:
    return memory_file() if size <= _IN_MEMORY_BYTES else tempfile.TemporaryFile()


def _copy(body: ObjectBody, file: IO[bytes]) -> None:
    with closing(body):
        while chunk := body.read(_CHUNK_BYTES):
            file.write(chunk)
    file.flush()


def _encoding(spec: str) -> str:
    return spec.rpartition(".")[2]


def _record(image: ImageRecord, spec: str, made: EncodedPicture) -> VariantRecord:
    return VariantRecord(
        image.s3_key,
        spec,
        s3_key="",
        size_bytes=len(made.content),
        content_type=VARIANT_MEDIA_TYPES[_encoding(spec)],
        sha256=hashlib.sha256(made.content).hexdigest(),
        width=made.width,
        height=made.height,
        created_at=datetime.now(UTC),
    )


def _delivered(image: ImageRecord, record: VariantRecord) -> ImageRecord:
    """Describe a variant like an image.

    `last_updated_at` is that of the original, because variants of two versions may be made within
    one second.
    """
    return image._replace(
        size_bytes=record.size_bytes,
        extension=_encoding(record.spec),
        content_type=record.content_type,
        sha256=record.sha256,
        width=record.width,
        height=record.height,
        s3_key=record.s3_key,
    )
