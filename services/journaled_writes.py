"""What all use cases that store objects share: journal a key first, and never lose sight of it.

In which order is said by `ImageStore.upload` (image_store.py) and `VariantStore`; the reasons:
docs/write-protocol.md.
"""

import logging
import random
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeVar

from sqlalchemy.orm import Session

from db import writing
from errors import (
    DatabaseUnavailableError,
    StorageUnavailableError,
    TransactionAbortedError,
    WriteConflictError,
)
from repositories import pending_objects
from s3_client import Bucket
from services.sweeper import remove_object

logger = logging.getLogger("image_api")

_WRITE_ATTEMPTS = 20
_Result = TypeVar("_Result")


class JournaledWrites:
    """Base of the use cases that store objects, on one database session and one bucket."""

    def __init__(self, session: Session, bucket: Bucket) -> None:
        self._session = session
        self._bucket = bucket

    def _journal_upload(self, key: str) -> None:
        with writing(self._session, single_statement=True) as connection:
            pending_objects.journal_upload(connection, key, datetime.now(UTC))

    def _abandon_upload(self, key: str) -> None:
        """Make sure that an upload whose COMMIT failed is either done or never will be."""
        try:
            with writing(self._session) as connection:
                never_committed = pending_objects.claim_upload(connection, key, claimed_at=None)
        except (DatabaseUnavailableError, TransactionAbortedError):
            logger.warning("The fate of object %s is left to the sweeper", key, exc_info=True)
            return
        if never_committed:
            self._remove_object(key)

    def _remove_object(self, key: str) -> None:
        """Remove the object of an entry. Best effort: the sweeper finishes."""
        try:
            remove_object(self._session, self._bucket, key)
        except (StorageUnavailableError, DatabaseUnavailableError, TransactionAbortedError):
            logger.warning("Object %s is left to the sweeper", key, exc_info=True)

    @staticmethod
    def _retry(transaction: Callable[[int], _Result]) -> _Result:
        """Run a transaction until the database does not undo it. Raises WriteConflictError."""
        for attempt in range(_WRITE_ATTEMPTS):
            try:
                return transaction(attempt)
            except TransactionAbortedError as exc:
                cause = exc
                time.sleep(random.uniform(0, 0.002 * 2 ** min(attempt, 6)))  # noqa: S311
        raise WriteConflictError from cause
