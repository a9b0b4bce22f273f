"""The sweeper: deletes the objects of due journal entries.

Any number of sweepers may run at once, beside any number of services. A sweeper handles each entry
separately, and commits each decision before it acts on it.
"""

import threading
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy.orm import Session, sessionmaker

from config import Settings
from db import reading, writing
from errors import (
    DatabaseUnavailableError,
    StorageUnavailableError,
    TransactionAbortedError,
    UnavailableError,
    WriteConflictError,
)
from repositories import pending_objects, variants
from repositories.pending_objects import TO_DELETE, UPLOADING, JournalEntry
from s3_client import Bucket
from services.write_protocol import journal_variant, remove_object
from telemetry import logger
from telemetry.job_metrics import write_sweep
from telemetry.metrics import recorder

_PAGE = 500
_VARIANTS_SLICE = 20_000  # takes PostgreSQL and MariaDB less than 0.1 s
_STATE_NAMES = {UPLOADING: "uploading", TO_DELETE: "to_delete"}


@dataclass(slots=True)
class SweepReport:
    """The number of entries by result.

    `removed`: deleted with their object; `taken`: claimed from an unfinished upload; `waiting`: not
    due yet; `failed`: not removed because of an error of S3 or the database.
    """

    removed: int = 0
    taken: int = 0
    waiting: int = 0
    failed: int = 0


class Sweeper:
    """Removes the objects of crashed uploads, and of overwritten and deleted images."""

    def __init__(self, sessions: sessionmaker[Session], bucket: Bucket, settings: Settings) -> None:
        self._sessions = sessions
        self._bucket = bucket
        self._grace = timedelta(seconds=settings.upload_grace_seconds)
        self._horizon = timedelta(seconds=settings.put_horizon_seconds)
        self._keep = timedelta(seconds=settings.keep_deleted_seconds)
        self._folder = settings.metrics_folder
        self._after = variants.BEFORE_ALL_KEYS
        self._has_read_all = False

    def _journal_unnamed_variants(self) -> None:
        """Journal variants of originals that a release without variants replaced or deleted.

        The first sweep reads all variants, which may be millions. Later sweeps read one slice each.
        """
        try:
            self._journal_slice()
            while not self._has_read_all:
                self._journal_slice()
        except (DatabaseUnavailableError, WriteConflictError):
            logger.warning("Variants without an original wait for the next sweep", exc_info=True)

    def _journal_slice(self) -> None:
        with reading(self._sessions()) as connection:
            keys, after = variants.unnamed_variants(connection, self._after, _VARIANTS_SLICE)
        for key in keys:
            journal_variant(self._sessions(), key)
        self._after = after or variants.BEFORE_ALL_KEYS
        self._has_read_all |= after is None

    def sweep(self) -> SweepReport:
        """Handle every journal entry once, then write the metrics of the journal.

        Raises DatabaseUnavailableError; entries that were handled before stay handled.
        """
        self._journal_unnamed_variants()
        report, remaining = SweepReport(), dict.fromkeys(_STATE_NAMES.values(), 0)
        longest_overdue = timedelta()
        for entry in journal_entries(self._sessions):
            result = self._handle(entry)
            setattr(report, result, getattr(report, result) + 1)
            if result != "removed":
                remaining[_STATE_NAMES[TO_DELETE if result == "taken" else entry.state]] += 1
            if result == "failed":
                longest_overdue = max(longest_overdue, self._overdue(entry))
        if folder := self._folder or recorder.folder:
            write_sweep(folder, remaining, longest_overdue.total_seconds())
        return report

    def _overdue(self, entry: JournalEntry) -> timedelta:
        """Return how long an entry has been due; negative if it is not due."""
        if entry.state == UPLOADING:
            pause = self._grace
        else:
            pause = self._horizon if entry.is_claimed else self._keep
        return datetime.now(UTC) - entry.since - pause

    def _handle(self, entry: JournalEntry) -> str:
        """Handle one entry; return the field of the report that counts it."""
        if self._overdue(entry) < timedelta():
            return "waiting"
        try:
            if entry.state == UPLOADING:
                return self._claim_upload(entry)
            remove_object(self._sessions(), self._bucket, entry.s3_key)
        except (StorageUnavailableError, TransactionAbortedError):
            logger.warning("Object %s could not be removed", entry.s3_key, exc_info=True)
            return "failed"
        return "removed"

    def _claim_upload(self, entry: JournalEntry) -> str:
        """Claim the key of an unfinished upload, unless it commits first; delete the object.

        The entry remains, because a PUT may still be in progress and land after the deletion.
        """
        now = datetime.now(UTC)
        with writing(self._sessions()) as connection:
            if not pending_objects.claim_upload(connection, entry.s3_key, claimed_at=now):
                return "waiting"
        self._bucket.delete_image(entry.s3_key)
        return "taken"


def journal_entries(sessions: sessionmaker[Session]) -> Iterator[JournalEntry]:
    """Yield the journal, oldest entries first. Raises DatabaseUnavailableError."""
    after = None
    while True:
        with reading(sessions()) as connection:
            page = pending_objects.entries_after(connection, after, _PAGE)
        if not page:
            return
        yield from page
        after = page[-1].created_at, page[-1].s3_key


def sweep_until(stop: threading.Event, sweeper: Sweeper, interval: float) -> None:
    """Sweep every `interval` seconds until `stop` is set; log errors and continue."""
    while not stop.wait(interval):
        try:
            report = sweeper.sweep()
            if report.removed or report.taken or report.failed:
                logger.info("Swept: %s", asdict(report))
        except (UnavailableError, TransactionAbortedError):
            logger.warning("Sweep interrupted", exc_info=True)
        except Exception:
            logger.exception("Sweep failed")
