"""The write protocol: stores and deletes an object together with its row.

The order of the statements keeps the invariants I1 to I6 (docs/write-protocol.md). The sweeper
finishes what a crash interrupts.
"""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import IO, Any, Literal, NamedTuple, TypeVar

from sqlalchemy import Connection
from sqlalchemy.orm import Session

from config import Settings
from db import WRITE_ATTEMPTS, retry, writing
from errors import (
    DatabaseUnavailableError,
    ImageNotFoundError,
    StorageUnavailableError,
    TransactionAbortedError,
    UploadInterruptedError,
)
from repositories import images, pending_objects, variants
from repositories.images import ImageRecord
from s3_client import Bucket, generate_s3_key
from services.inspection import ImageInfo
from services.origin import HERE, Origin
from services.recent_deletions import RecentDeletions
from telemetry import logger

_Result = TypeVar("_Result")

Precondition = Callable[[ImageRecord | None], None]
"""Takes the current row or None. Raises PreconditionFailedError if it must not be replaced."""

Switch = Callable[[Connection, str, int], _Result]
"""Takes a connection, a key and the attempt (from 0), and writes the row that names the key."""

UploadOutcome = Literal["created", "replaced", "unchanged"]
"""What an upload did to its name."""


@dataclass(frozen=True, slots=True)
class UploadResult:
    """An upload that was committed."""

    image: ImageRecord
    outcome: UploadOutcome
    old_key: str | None


class NewObject(NamedTuple):
    """Bytes to store, and the metadata of their object."""

    file: IO[bytes]
    name: str
    extension: str
    content_type: str
    sha256: str


class WriteProtocol:
    """Stores objects and the rows that name them, on one database session and one bucket."""

    def __init__(
        self,
        session: Session,
        bucket: Bucket,
        settings: Settings,
        deletions: RecentDeletions | None = None,
    ) -> None:
        self._session = session
        self._bucket = bucket
        self._deletions = deletions or RecentDeletions()
        self._put_timeout = settings.s3_put_timeout_seconds
        self._horizon = timedelta(seconds=settings.put_horizon_seconds)

    def store_image(
        self,
        file: IO[bytes],
        name: str,
        info: ImageInfo,
        current: ImageRecord | None,
        precondition: Precondition,
        origin: Origin = HERE,
    ) -> UploadResult:
        """Store `file` as the image `name`, whose row was `current` when it was last read.

        If the row has changed since, a row count or a unique constraint aborts the transaction. The
        next attempt locks and reads the row and checks `precondition`. Raises
        PreconditionFailedError, and what `store_object` raises.
        """

        def switch(connection: Connection, key: str, attempt: int) -> UploadResult:
            seen = current
            if attempt:
                seen = images.lock_image(connection, name)
                precondition(seen)
            if seen:
                return _replace_image(connection, seen, asdict(info) | {"s3_key": key})
            row = self._new_row(key, name, info, origin)
            images.insert_image(connection, row)
            # Only the database uses the id of a new row.
            return UploadResult(ImageRecord(id=0, **row), "created", None)

        new = NewObject(file, name, info.extension, info.content_type, info.sha256)
        return self.store_object(new, switch)

    def store_object(
        self, new: NewObject, switch: Switch[_Result], *, attempts: int = WRITE_ATTEMPTS
    ) -> _Result:
        """Store bytes under a new key, call `switch` to write the row, and return its result.

        Raises StorageUnavailableError, DatabaseUnavailableError, UploadInterruptedError,
        WriteConflictError if the database aborted all `attempts`, or what `switch` raises. After a
        DatabaseUnavailableError the row may have been written; after other errors it has not.
        """
        key = generate_s3_key(new.name, new.extension)
        # The horizon must cover the PUT, so its time limit starts before the journal entry.
        started = time.time()
        retry(lambda _: self._journal_upload(key))
        # If the PUT fails, the object may exist or land later. The journal has the key, and the
        # sweeper claims it after the grace period.
        self._put_object(new, key, started)
        try:
            return retry(partial(self._commit_upload, key, switch), attempts)
        except Exception:
            # If the connection broke during COMMIT, a row may already name the object. Then the
            # journal entry is gone, and nothing is abandoned.
            self._abandon_upload(key)
            raise

    def remove_object(self, key: str) -> None:
        """Remove the object of a journal entry, or leave it to the sweeper if that fails."""
        try:
            remove_object(self._session, self._bucket, key)
        except (StorageUnavailableError, DatabaseUnavailableError, TransactionAbortedError):
            logger.warning("Object %s is left to the sweeper", key, exc_info=True)

    def _journal_upload(self, key: str) -> None:
        with writing(self._session, single_statement=True) as connection:
            pending_objects.journal_upload(connection, key, _now())

    def _commit_upload(self, key: str, switch: Switch[_Result], attempt: int) -> _Result:
        with writing(self._session) as connection:
            if not pending_objects.finish_upload(connection, key):
                raise UploadInterruptedError
            return switch(connection, key, attempt)

    def _put_object(self, new: NewObject, key: str, started: float) -> None:
        """Put an object within the time limit that began at `started`, in Unix time.

        The monotonic clock stops while a host is suspended, but the sweepers of others do not.
        """
        elapsed = max(0.0, time.time() - started)
        deadline = time.monotonic() + self._put_timeout - elapsed
        self._bucket.upload_image(
            new.file,
            key,
            new.content_type,
            sha256=new.sha256,
            name=new.name,
            deadline=deadline,
        )

    def _abandon_upload(self, key: str) -> None:
        """Remove the object of an upload, unless the upload has committed.

        The PUT has ended, so the claim is backdated and the sweeper need not wait for the horizon.
        """
        try:
            with writing(self._session) as connection:
                never_committed = pending_objects.claim_upload(
                    connection, key, claimed_at=_now() - self._horizon
                )
        except (DatabaseUnavailableError, TransactionAbortedError):
            logger.warning("The upload of object %s is left to the sweeper", key, exc_info=True)
            return
        if never_committed:
            self.remove_object(key)

    def _new_row(self, key: str, name: str, info: ImageInfo, origin: Origin) -> dict[str, Any]:
        now, last = _now(), self._deletions.last_stored(name)
        dates = origin.first_values(now, not_before=_time_after(last, now) if last else None)
        return {"name": name, "s3_key": key} | asdict(info) | dates


def delete_image(session: Session, name: str, precondition: Precondition) -> ImageRecord:
    """Delete the row of the image `name`, journal its objects, and return the row.

    Raises ImageNotFoundError, PreconditionFailedError, WriteConflictError or
    DatabaseUnavailableError.
    """

    def delete(_attempt: int) -> ImageRecord:
        with writing(session) as connection:
            current = images.lock_image(connection, name)
            if current is None:
                raise ImageNotFoundError
            precondition(current)
            if not images.delete_image(connection, current):
                raise TransactionAbortedError
            _journal_objects_of(connection, current)
            return current

    return retry(delete)


def journal_variant(session: Session, key: str) -> None:
    """Delete the row of a variant and journal its object.

    Raises WriteConflictError or DatabaseUnavailableError.
    """

    def journal(_attempt: int) -> None:
        with writing(session) as connection:
            deleted = variants.delete_variant(connection, key)
            if deleted and not pending_objects.has_entry(connection, key):
                pending_objects.journal_deletion(connection, key, _now())

    retry(journal)


def journal_outdated_variants(connection: Connection, original_key: str, current: str) -> None:
    """Delete and journal the variants of an object whose spec does not begin with `current`.

    The transaction must have locked the row of the image.
    """
    for key in variants.delete_variants(connection, original_key, keep=current):
        pending_objects.journal_deletion(connection, key, _now())


def remove_object(session: Session, bucket: Bucket, key: str) -> None:
    """Delete the object of a journal entry, then the entry.

    In the reverse order, a crash would leave an object without an entry. Raises
    StorageUnavailableError, DatabaseUnavailableError or TransactionAbortedError.
    """
    bucket.delete_image(key)
    with writing(session, single_statement=True) as connection:
        pending_objects.remove_entry(connection, key)


def _replace_image(
    connection: Connection, current: ImageRecord, values: dict[str, Any]
) -> UploadResult:
    values["last_updated_at"] = _time_after(current.last_updated_at, _now())
    if not images.replace_image(connection, current, values):
        raise TransactionAbortedError
    _journal_objects_of(connection, current)
    return UploadResult(current._replace(**values), "replaced", current.s3_key)


def _time_after(last: datetime, now: datetime) -> datetime:
    """Return the date of a version that replaces the one stored at `last`.

    Last-Modified has a resolution of one second, so clients cannot distinguish two versions of one
    second. `last` may be a second ahead of `now`; clients have not seen that second yet.
    """
    second = last.replace(microsecond=0)
    ahead = (second - now.replace(microsecond=0)) // timedelta(seconds=1)
    if ahead < 0:
        return now
    return last + timedelta.resolution if ahead == 1 else second + timedelta(seconds=1)


def _journal_objects_of(connection: Connection, image: ImageRecord) -> None:
    """Journal the object of an image that this transaction replaces or deletes, and its variants.

    The transaction has locked the row of the image, so no other transaction can store a variant.
    """
    now = _now()
    for key in (image.s3_key, *variants.delete_variants(connection, image.s3_key)):
        pending_objects.journal_deletion(connection, key, now)


def _now() -> datetime:
    return datetime.now(UTC)
