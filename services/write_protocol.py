"""The write protocol: how an object and the row that names it are stored and deleted together.

Every statement here, and their order, is needed for the invariants I1 to I5, which are stated in
docs/write-protocol.md together with what each wrong protocol loses. What is left undone, the
sweeper finishes (sweeper.py); what the journal never knew, `verify --repair` puts into it
(verification.py). Before an upload comes here, ImageStore.upload (image_store.py) has
inspected the file, read the current row, checked the request's conditions, and seen that these
bytes are not stored already. What readers do meanwhile is in image_store.py, too.
"""

import logging
import random
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from functools import partial
from typing import IO, Any, NamedTuple, TypeVar

from sqlalchemy import Connection
from sqlalchemy.orm import Session

from config import Settings
from db import writing
from errors import (
    DatabaseUnavailableError,
    ImageNotFoundError,
    PreconditionFailedError,
    StorageUnavailableError,
    TransactionAbortedError,
    UploadInterruptedError,
    WriteConflictError,
)
from repositories import images, pending_objects
from repositories.images import ImageRecord
from s3_client import Bucket, generate_s3_key
from services.inspection import ImageInfo
from services.maintenance.sweeper import remove_object

logger = logging.getLogger("image_api")

_ATTEMPTS = 20
_Result = TypeVar("_Result")

# Raises PreconditionFailedError unless the current row, None where there is none, may be replaced.
Precondition = Callable[[ImageRecord | None], None]
# Lets a row name the object under that key, in the transaction of that connection. The number of
# the attempt is 0 until the database has undone one.
Switch = Callable[[Connection, str, int], _Result]


class UploadOutcome(Enum):
    """What an upload did to its name."""

    CREATED = "created"
    REPLACED = "replaced"
    UNCHANGED = "unchanged"


@dataclass(frozen=True, slots=True)
class UploadResult:
    """An upload that was committed."""

    image: ImageRecord
    outcome: UploadOutcome
    old_key: str | None


class NewObject(NamedTuple):
    """Bytes to be stored, and what S3 is told of them."""

    file: IO[bytes]
    name: str
    extension: str
    content_type: str
    sha256: str


class WriteProtocol:
    """Stores and deletes on one database session and one bucket."""

    def __init__(self, session: Session, bucket: Bucket, settings: Settings) -> None:
        self._session = session
        self._bucket = bucket
        self._put_timeout = settings.s3_put_timeout_seconds

    def store_image(
        self,
        file: IO[bytes],
        name: str,
        info: ImageInfo,
        current: ImageRecord | None,
        precondition: Precondition,
    ) -> UploadResult:
        """Store `file` as the image `name`, whose row is `current`: see `store_object`.

        Whether `current` still holds, the database says by a number of rows or a violated
        uniqueness; then the row is read anew, and PreconditionFailedError may be raised.
        """

        def switch(connection: Connection, key: str, attempt: int) -> UploadResult:
            seen = current
            if attempt:
                seen = images.lock_image(connection, name)
                precondition(seen)
            values = asdict(info) | {"s3_key": key}
            if seen is None:
                return _insert_image(connection, {"name": name} | values)
            return _replace_image(connection, seen, values)

        new = NewObject(file, name, info.extension, info.content_type, info.sha256)
        return self.store_object(new, switch)

    def store_object(
        self, new: NewObject, switch: Switch[_Result], *, attempts: int = _ATTEMPTS
    ) -> _Result:
        """Store bytes under a new key, then let `switch` name it; return what that returns.

        Raises StorageUnavailableError, DatabaseUnavailableError, UploadInterruptedError,
        WriteConflictError where the database undid all `attempts` to switch, or what `switch`
        raises. Then nothing has changed, except where the database's answer was lost
        (DatabaseUnavailableError): then everything may have.
        """
        key = generate_s3_key(new.name, new.extension)
        # The sweeper's horizon must cover the PUT, so its time runs from before the journal entry.
        deadline = time.monotonic() + self._put_timeout
        retry(lambda _: self._journal_upload(key))
        # On failure touch nothing more: the object may be there, or land later. The journal owns
        # the key, and the sweeper takes it after its grace period.
        self._bucket.upload_image(
            new.file,
            key,
            new.content_type,
            sha256=new.sha256,
            name=new.name,
            deadline=deadline,
        )
        try:
            return retry(partial(self._commit_upload, key, switch), attempts)
        except (DatabaseUnavailableError, PreconditionFailedError, WriteConflictError):
            # Never just delete the object: where the connection broke during COMMIT it may be
            # named by now. The journal knows.
            self._abandon_upload(key)
            raise

    def delete_image(self, name: str, precondition: Precondition) -> ImageRecord:
        """Delete the row of the image `name`; its object may be removed afterwards.

        Raises ImageNotFoundError, PreconditionFailedError, WriteConflictError or
        DatabaseUnavailableError.
        """
        return retry(lambda _: self._commit_delete(name, precondition))

    def remove_object(self, key: str) -> None:
        """Remove the object of a journal entry. Best effort: the sweeper finishes."""
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

    def _abandon_upload(self, key: str) -> None:
        """Make sure that an upload whose COMMIT failed is either done or never will be.

        Whether it was done, nobody knows after CommitUnknownError (db.py).
        """
        try:
            with writing(self._session) as connection:
                never_committed = pending_objects.claim_upload(connection, key, claimed_at=None)
        except (DatabaseUnavailableError, TransactionAbortedError):
            logger.warning("The fate of object %s is left to the sweeper", key, exc_info=True)
            return
        if never_committed:
            self.remove_object(key)

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


def retry(transaction: Callable[[int], _Result], attempts: int = _ATTEMPTS) -> _Result:
    """Run a transaction until the database does not undo it; tell it how often it did.

    Which errors mean that is said by `is_undone` (adapters/database_drivers.py). Raises
    WriteConflictError after so many attempts.
    """
    for attempt in range(attempts):
        if attempt:
            time.sleep(random.uniform(0, 0.001 * 2 ** min(attempt, 7)))  # noqa: S311
        try:
            return transaction(attempt)
        except TransactionAbortedError as exc:
            cause = exc
    raise WriteConflictError from cause


def _insert_image(connection: Connection, values: dict[str, Any]) -> UploadResult:
    now = _now()
    record = values | {"created_at": now, "last_updated_at": now}
    images.insert_image(connection, record)
    # Nobody outside the database needs the id of a row just inserted.
    return UploadResult(ImageRecord(id=0, **record), UploadOutcome.CREATED, None)


def _replace_image(
    connection: Connection, current: ImageRecord, values: dict[str, Any]
) -> UploadResult:
    now = _now()
    # Clocks differ between hosts; a name's versions must not go back in time.
    values["last_updated_at"] = max(now, current.last_updated_at + timedelta.resolution)
    if not images.replace_image(connection, current, values):
        raise TransactionAbortedError
    pending_objects.journal_deletion(connection, current.s3_key, now)
    return UploadResult(current._replace(**values), UploadOutcome.REPLACED, current.s3_key)


def _now() -> datetime:
    return datetime.now(UTC)
