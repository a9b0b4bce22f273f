"""The use cases: what happens, in what order, in which transaction.

Every statement here, and their order, is needed for the invariants I1 to I5, which are stated in
docs/write-protocol.md together with what each wrong variant loses.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import IO, Any

from sqlalchemy.orm import Session

from config import Settings
from db import writing
from errors import (
    DatabaseUnavailableError,
    ImageLostError,
    ImageNotFoundError,
    ObjectMissingError,
    PreconditionFailedError,
    TransactionAbortedError,
    UploadInterruptedError,
    WriteConflictError,
)
from repositories import images, pending_objects
from repositories.images import ImageRecord, Order, RandomImages
from s3_client import Bucket, ObjectBody, generate_s3_key
from services.inspection import ImageInfo, Inspector
from services.journaled_writes import JournaledWrites
from services.names import normalise_name
from telemetry.recorder import recorder

__all__ = [
    "ImageRecord",
    "ImageStore",
    "Order",
    "Outcome",
    "Precondition",
    "RandomImages",
    "UploadResult",
]

logger = logging.getLogger("image_api")

# Raises PreconditionFailedError unless the current row, None where there is none, may be replaced.
Precondition = Callable[[ImageRecord | None], None]


class Outcome(Enum):
    """What an upload did to its name."""

    CREATED = "created"
    REPLACED = "replaced"
    UNCHANGED = "unchanged"


@dataclass(frozen=True, slots=True)
class UploadResult:
    """An upload that was committed."""

    image: ImageRecord
    outcome: Outcome
    old_key: str | None


class ImageStore(JournaledWrites):
    """All that can be done with images, on one database session and one bucket."""

    def __init__(
        self,
        session: Session,
        bucket: Bucket,
        inspector: Inspector,
        settings: Settings,
        random_images: RandomImages | None = None,
    ) -> None:
        super().__init__(session, bucket)
        self._inspector = inspector
        self._random_images = random_images or RandomImages()
        self._keep_deleted = settings.keep_deleted_seconds
        self._put_timeout = settings.s3_put_timeout_seconds

    def upload(
        self, file: IO[bytes], name: str, extension: str, precondition: Precondition
    ) -> UploadResult:
        """Inspect and store `file` as the image `name`, replacing what it was.

        Bytes that the image has already are not stored again, unless its object was lost. Raises
        InvalidNameError, the refusals of `Inspector.inspect`, PreconditionFailedError,
        StorageUnavailableError, DatabaseUnavailableError, UploadInterruptedError or
        WriteConflictError; then nothing has changed, except where the database's answer was lost
        (DatabaseUnavailableError): then everything may have.
        """
        name = normalise_name(name)
        info = self._inspector.inspect(file, extension)
        current = images.find_image(self._session, name)
        precondition(current)
        if current and _describes(current, info) and self._has_object(current):
            return UploadResult(current, Outcome.UNCHANGED, None)
        key = generate_s3_key(name, info.extension)
        # The sweeper's horizon must cover the PUT, so its time runs from before the journal entry.
        deadline = time.monotonic() + self._put_timeout
        self._retry(lambda _: self._journal_upload(key))
        # On failure touch nothing more: the object may be there, or land later. The journal owns
        # the key, and the sweeper takes it after its grace period.
        self._bucket.upload_image(
            file, key, info.content_type, sha256=info.sha256, name=name, deadline=deadline
        )
        try:
            return self._retry(
                lambda attempt: self._commit_upload(
                    name, key, info, precondition, current, again=attempt > 0
                )
            )
        except (DatabaseUnavailableError, PreconditionFailedError, WriteConflictError):
            # Never just delete the object: where the connection broke during COMMIT it may be
            # the image by now. The journal knows.
            self._abandon_upload(key)
            raise

    def delete(self, name: str, precondition: Precondition) -> ImageRecord:
        """Delete the image `name`; its object follows by `remove_unless_kept`.

        Raises ImageNotFoundError, PreconditionFailedError, WriteConflictError or
        DatabaseUnavailableError.
        """
        name = normalise_name(name)
        return self._retry(lambda _: self._commit_delete(name, precondition))

    def remove_unless_kept(self, key: str) -> None:
        """Remove the object of an overwritten or deleted image, unless it is kept for a while.

        Best effort: the sweeper finishes.
        """
        if not self._keep_deleted:
            self._remove_object(key)

    def _has_object(self, image: ImageRecord) -> bool:
        if self._bucket.has_object(image.s3_key, image.size_bytes):
            return True
        recorder.count_lost_image()
        logger.critical("Image row %d has lost object %s: storing anew", image.id, image.s3_key)
        return False

    def _commit_upload(
        self,
        name: str,
        key: str,
        info: ImageInfo,
        precondition: Precondition,
        current: ImageRecord | None,
        *,
        again: bool,
    ) -> UploadResult:
        """Let the row name the new object, in one transaction.

        At first `current` is what was seen before the PUT: whether it still holds, the database
        says by a number of rows or a violated uniqueness.
        """
        now = _now()
        values = asdict(info) | {"s3_key": key}
        with writing(self._session) as connection:
            if not pending_objects.finish_upload(connection, key):
                raise UploadInterruptedError
            if again:
                current = images.lock_image(connection, name)
                precondition(current)
            if current is None:
                record = {"name": name, "created_at": now, "last_updated_at": now} | values
                images.insert_image(connection, record)
                return UploadResult(_record(record), Outcome.CREATED, None)
            # Clocks differ between hosts; a name's versions must not go back in time.
            values["last_updated_at"] = max(now, current.last_updated_at + timedelta.resolution)
            if not images.replace_image(connection, current, values):
                raise TransactionAbortedError
            pending_objects.journal_deletion(connection, current.s3_key, now)
            return UploadResult(current._replace(**values), Outcome.REPLACED, current.s3_key)

    def _commit_delete(self, name: str, precondition: Precondition) -> ImageRecord:
        with writing(self._session) as connection:
            current = images.lock_image(connection, name)
            if current is None:
                raise ImageNotFoundError
            precondition(current)
            if not images.delete_image(connection, current):
                raise TransactionAbortedError
            pending_objects.journal_deletion(connection, current.s3_key, _now())
            return current

    def describe(self, name: str) -> ImageRecord:
        """Return what is known of the image `name`.

        Raises ImageNotFoundError or DatabaseUnavailableError.
        """
        image = images.find_image(self._session, normalise_name(name))
        if image is None:
            raise ImageNotFoundError
        return image

    def describe_random(self) -> ImageRecord:
        """Return an image drawn uniformly. Raises ImageNotFoundError when there are none."""
        image = self._random_images.pick(self._session)
        if image is None:
            raise ImageNotFoundError("There are no images.")
        return image

    def list(
        self, order: Order, prefix: str, after: tuple[Any, int] | None, limit: int
    ) -> list[ImageRecord]:
        """Return a page of images. Raises DatabaseUnavailableError."""
        return images.list_images(self._session, order, prefix=prefix, after=after, limit=limit)

    def describe_replacement(self, image: ImageRecord) -> ImageRecord:
        """Return what replaced `image`, whose object is gone.

        Raises ImageNotFoundError, DatabaseUnavailableError, or ImageLostError when nothing did.
        """
        current = self.describe(image.name)
        if current.s3_key == image.s3_key:
            logger.critical("Image row %d has no object %s", image.id, image.s3_key)
            raise ImageLostError
        return current

    def open_object(self, image: ImageRecord, first: int, last: int) -> ObjectBody | None:
        """Open the bytes `first` to `last` inclusive of an image; None when its object is gone.

        Then the image was overwritten or deleted after its row was read. Raises
        StorageUnavailableError, or ImageLostError when the object is not as long as its row says.
        """
        whole = (first, last) == (0, image.size_bytes - 1)
        try:
            body = self._bucket.download_image(image.s3_key, None if whole else (first, last))
        except ObjectMissingError:
            return None
        if body.length != last - first + 1:
            body.close()
            logger.critical("Object %s has not the size of image row %d", image.s3_key, image.id)
            raise ImageLostError
        return body

    def presigned_url(self, image: ImageRecord, method: str, headers: dict[str, str]) -> str:
        """Return a URL at which S3 itself answers `method` with the image and `headers`."""
        return self._bucket.presigned_url(method, image.s3_key, headers)


def _describes(image: ImageRecord, info: ImageInfo) -> bool:
    """Whether storing these bytes would change nothing."""
    return all(getattr(image, field) == value for field, value in asdict(info).items())


def _now() -> datetime:
    return datetime.now(UTC)


def _record(values: dict[str, Any]) -> ImageRecord:
    """The record of a row just inserted; nobody outside the database needs its id."""
    return ImageRecord(id=0, **values)
