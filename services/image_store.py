"""The use cases of images."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import IO, Any, NamedTuple

from sqlalchemy.orm import Session

from config import Settings
from errors import ImageNotFoundError, PreconditionFailedError
from repositories import images
from repositories.images import ImageRecord, RandomImages
from s3_client import Bucket, HashedBytes, ObjectBody
from services import read_protocol
from services.bulk_writes import BulkWriteProtocol, NewImage
from services.inspection import ImageInfo, Inspector
from services.names import normalise_name
from services.origin import HERE, Origin
from services.recent_deletions import RecentDeletions
from services.write_protocol import (
    NewObject,
    Precondition,
    UploadOutcome,
    UploadResult,
    delete_image,
)
from telemetry import logger
from telemetry.metrics import recorder

__all__ = ["HashedBytes", "ImageRecord", "ImageStore", "Precondition", "RandomImages", "Uploader"]


class Uploader(NamedTuple):
    """Who uploads: the name of the API key, if any, and whether it may replace images.

    An import passes the `origin` of the image instead of a key.
    """

    key_name: str | None = None
    may_replace: bool = True
    origin: Origin = HERE


_ANYBODY = Uploader()


class ImageStore:
    """The use cases of images, on one database session and one bucket."""

    def __init__(
        self,
        session: Session,
        bucket: Bucket,
        inspector: Inspector,
        settings: Settings,
        random_images: RandomImages | None = None,
        deletions: RecentDeletions | None = None,
    ) -> None:
        self._session = session
        self._bucket = bucket
        self._deletions = deletions or RecentDeletions()
        self._protocol = BulkWriteProtocol(session, bucket, settings, self._deletions)
        self._inspector = inspector
        self._random_images = random_images or RandomImages()
        self._keep_deleted = settings.keep_deleted_seconds

    def upload(
        self,
        file: IO[bytes],
        name: str,
        extension: str | None,
        precondition: Precondition,
        *,
        media_type: str | None = None,
        by: Uploader = _ANYBODY,
    ) -> UploadResult:
        """Inspect `file` and store it as the image `name`, or replace that image.

        `extension` is that of the file name, if known; `media_type` is the required type, if any.
        Bytes that the image already has are not stored again, unless its object is lost. Raises
        InvalidNameError, and what `Inspector.inspect`, `precondition` and `store_image` raise.
        """
        name = normalise_name(name)
        info = self._inspector.inspect(file, extension, media_type)
        current = images.find_image(self._session, name)
        precondition(current)
        if current and self._is_stored(current, info):
            return UploadResult(current, "unchanged", None)

        def require_replaceable(row: ImageRecord | None) -> None:
            precondition(row)
            if row and not by.may_replace:
                raise PreconditionFailedError

        require_replaceable(current)
        origin = by.origin._replace(created_by=by.key_name) if by.key_name else by.origin
        return self._protocol.store_image(file, name, info, current, require_replaceable, origin)

    def prepare(
        self, file: IO[bytes], name: str, extension: str | None, origin: Origin
    ) -> NewImage:
        """Inspect `file` for `upload_new`, as the new image `name`.

        Raises InvalidNameError, and what `Inspector.inspect` raises.
        """
        name, info = normalise_name(name), self._inspector.inspect(file, extension)
        new = NewObject(file, name, info.extension, info.content_type, info.sha256)
        return NewImage(new, info, origin)

    def upload_new(self, batch: Sequence[NewImage]) -> None:
        """Store all images of a batch, or none, like `BulkWriteProtocol.store_new_images`."""
        self._protocol.store_new_images(batch)

    def foresee_upload(
        self, file: IO[bytes], name: str, extension: str | None, precondition: Precondition
    ) -> UploadOutcome:
        """Return the outcome that `upload` would have, and store nothing. Raises like `upload`."""
        name = normalise_name(name)
        info = self._inspector.inspect(file, extension)
        current = images.find_image(self._session, name)
        precondition(current)
        if current and self._is_stored(current, info):
            return "unchanged"
        return "replaced" if current else "created"

    def existing_names(self, names: Iterable[str]) -> set[str]:
        """Return the names that have an image. Raises DatabaseUnavailableError."""
        return images.existing_names(self._session, names)

    def has_bytes(self, name: str, sha256: str) -> bool:
        """Return whether the image `name` has bytes with this SHA-256, and its object exists."""
        current = images.find_image(self._session, normalise_name(name))
        return bool(current and current.sha256 == sha256 and self._has_object(current))

    def _is_stored(self, current: ImageRecord, info: ImageInfo) -> bool:
        """Return whether storing the inspected bytes would change nothing."""
        return asdict(info).items() <= current._asdict().items() and self._has_object(current)

    def delete(self, name: str, precondition: Precondition) -> ImageRecord:
        """Delete the row of the image `name`. Call `remove_unless_kept` with its key afterwards.

        Raises ImageNotFoundError, PreconditionFailedError, WriteConflictError or
        DatabaseUnavailableError.
        """

        def check(current: ImageRecord | None) -> None:
            precondition(current)
            if current:
                self._deletions.note(current)

        return delete_image(self._session, normalise_name(name), check)

    def remove_unless_kept(self, key: str) -> None:
        """Remove the object of a replaced or deleted image, unless KEEP_DELETED_SECONDS is set."""
        if not self._keep_deleted:
            self._protocol.remove_object(key)

    def _has_object(self, image: ImageRecord) -> bool:
        if self._bucket.has_object(image.s3_key, image.size_bytes):
            return True
        current = images.find_image(self._session, image.name)
        if current and current.s3_key == image.s3_key:  # otherwise it was replaced or deleted
            recorder.count_lost_image()
            logger.critical(
                "Image row %d has lost object %s; storing it again", image.id, image.s3_key
            )
        return False

    def find(self, name: str) -> ImageRecord | None:
        """Return the image `name`, or None. Raises InvalidNameError or DatabaseUnavailableError."""
        return images.find_image(self._session, normalise_name(name))

    def describe(self, name: str) -> ImageRecord:
        """Return the image `name`. Raises ImageNotFoundError, and what `find` raises."""
        image = self.find(name)
        if image is None:
            raise ImageNotFoundError
        return image

    def describe_random(self) -> ImageRecord:
        """Return a random image, uniformly. Raises ImageNotFoundError if there are none."""
        image = self._random_images.pick(self._session)
        if image is None:
            raise ImageNotFoundError("There are no images.")
        return image

    def list(
        self, order: str, prefix: str, after: tuple[Any, int] | None, limit: int
    ) -> list[ImageRecord]:
        """Return a page, like `repositories.images.list_images`."""
        return images.list_images(self._session, order, prefix=prefix, after=after, limit=limit)

    def describe_replacement(self, image: ImageRecord) -> ImageRecord:
        """Return the image that replaced `image`. Raises ImageNotFoundError or ImageLostError."""
        return read_protocol.describe_replacement(self._session, image)

    def open_object(self, image: ImageRecord, first: int, last: int) -> ObjectBody | None:
        """Open the bytes `first` to `last` inclusive; None if the image was replaced or lost."""
        return read_protocol.open_object(self._bucket, image, first, last)

    def presigned_url(
        self, image: ImageRecord, method: str, headers: dict[str, str], until: datetime | None
    ) -> str:
        """Return a URL at which S3 answers `method` with the image and `headers`."""
        return self._bucket.presigned_url(method, image.s3_key, headers, until)
