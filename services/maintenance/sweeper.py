"""How objects that no image row names go away: the journal's other half.

Any number of sweepers may run at once, beside any number of services. Each entry is handled by
itself; what a sweeper decides, it commits before it acts.
"""

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
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
)
from repositories import pending_objects, variants
from repositories.pending_objects import JournalEntry, JournalGroup
from s3_client import Bucket
from telemetry.job_metrics import write_sweep
from telemetry.recorder import recorder

logger = logging.getLogger("image_api")

_PAGE = 500
_VARIANTS_SLICE = 20_000  # less than 0.1 s of PostgreSQL and MariaDB
_STATE_NAMES = {pending_objects.UPLOADING: "uploading", pending_objects.TO_DELETE: "to_delete"}


@dataclass(slots=True)
class SweepReport:
    """What one sweep did.

    `removed`: entries gone with their object; `taken`: uploads given up; `waiting`: entries not
    due yet; `failed`: entries whose object could not be deleted now.
    """

    removed: int = 0
    taken: int = 0
    waiting: int = 0
    failed: int = 0

    @property
    def seen(self) -> int:
        """How many entries were looked at."""
        return sum(asdict(self).values())


def remove_object(session: Session, bucket: Bucket, key: str) -> None:
    """Delete an object that the journal says is to go, then its entry.

    In this order, because an object without an entry would be lost from sight.

    Raises StorageUnavailableError, DatabaseUnavailableError or TransactionAbortedError; then the
    entry remains.
    """
    bucket.delete_image(key)
    with writing(session, single_statement=True) as connection:
        pending_objects.remove_entry(connection, key)


def journal_unnamed_variants(session: Session) -> None:
    """Let the journal name the objects of variants whose original no image names any more.

    Raises DatabaseUnavailableError or TransactionAbortedError.
    """
    after: str | None = variants.BEFORE_ALL_KEYS
    while after is not None:
        with reading(session) as connection:
            keys, after = variants.unnamed_variants(connection, after, _VARIANTS_SLICE)
        for key in keys:
            journal_variant(session, key)


def journal_variant(session: Session, key: str) -> None:
    """Let the journal name the object of a variant instead of the variant's row.

    Raises DatabaseUnavailableError or TransactionAbortedError.
    """
    with writing(session) as connection:
        if variants.delete_variant(connection, key):
            pending_objects.journal_deletion(connection, key, datetime.now(UTC))


class Sweeper:
    """Finishes what services left behind: crashed uploads, overwritten and deleted objects."""

    def __init__(self, sessions: sessionmaker[Session], bucket: Bucket, settings: Settings) -> None:
        self._sessions = sessions
        self._bucket = bucket
        self._grace = timedelta(seconds=settings.upload_grace_seconds)
        self._horizon = timedelta(seconds=settings.put_horizon_seconds)
        self._keep = timedelta(seconds=settings.keep_deleted_seconds)
        self._folder = settings.metrics_folder
        self._has_variants = bool(settings.variants)

    def sweep(self, progress: Callable[[SweepReport], None] | None = None) -> SweepReport:
        """Look at every journal entry once; call `progress` after every page of them.

        Raises DatabaseUnavailableError; what was done until then stays done.
        """
        report = SweepReport()
        if self._has_variants:
            self._journal_variants()
        for page in self._pages():
            for entry in page:
                result = self._handle(entry)
                setattr(report, result, getattr(report, result) + 1)
            if progress:
                progress(report)
        return report

    def _journal_variants(self) -> None:
        """Journal what is to go; where that fails, the rest of the sweep does not depend on it."""
        try:
            journal_unnamed_variants(self._sessions())
        except (DatabaseUnavailableError, TransactionAbortedError):
            logger.warning("Variants of lost originals wait for the next sweep", exc_info=True)

    def record(self) -> None:
        """Write what the journal holds where `/metrics` and node_exporter find it, if anywhere.

        An entry is due when the next sweep would act on it. Raises DatabaseUnavailableError.
        """
        folder = self._folder or recorder.folder
        if folder is None:
            return
        with reading(self._sessions()) as connection:
            groups = pending_objects.summarise(connection)
        now = datetime.now(UTC)
        counts = dict.fromkeys(_STATE_NAMES.values(), 0)
        overdue = [timedelta()]
        for group in groups:
            counts[_STATE_NAMES[group.state]] += group.number
            overdue.append(now - group.since - self._pause(group))
        write_sweep(folder, counts, max(overdue).total_seconds())

    def _pause(self, entry: JournalEntry | JournalGroup) -> timedelta:
        """Return how long an entry waits until it is due.

        Where nothing is kept the object goes sooner, after the answer: `remove_unless_kept` in
        image_store.py. Until the horizon a PUT may land: write_protocol.py.
        """
        if entry.state == pending_objects.UPLOADING:
            return self._grace
        return self._horizon if entry.is_claimed else self._keep

    def _pages(self) -> Iterator[Sequence[JournalEntry]]:
        after = None
        while True:
            with reading(self._sessions()) as connection:
                page = pending_objects.entries_after(connection, after, _PAGE)
            if not page:
                return
            yield page
            after = page[-1].created_at, page[-1].s3_key

    def _handle(self, entry: JournalEntry) -> str:
        """Do what is due for one entry; return the field of the report that counts it."""
        try:
            if entry.state == pending_objects.UPLOADING:
                return self._claim_upload(entry)
            return self._remove(entry)
        except (StorageUnavailableError, TransactionAbortedError):
            logger.warning("Object %s could not be removed", entry.s3_key, exc_info=True)
            return "failed"

    def _claim_upload(self, entry: JournalEntry) -> str:
        """Give up an upload that did not finish, unless it does so first.

        The entry stays: its PUT may still be on the way, and land after the object was deleted.
        """
        now = datetime.now(UTC)
        if now - entry.since < self._pause(entry):
            return "waiting"
        with writing(self._sessions()) as connection:
            if not pending_objects.claim_upload(connection, entry.s3_key, claimed_at=now):
                return "waiting"
        self._bucket.delete_image(entry.s3_key)
        return "taken"

    def _remove(self, entry: JournalEntry) -> str:
        """Delete an object for good, once nobody can be reading it and no PUT can be under way."""
        if datetime.now(UTC) - entry.since < self._pause(entry):
            return "waiting"
        remove_object(self._sessions(), self._bucket, entry.s3_key)
        return "removed"


def sweep_until(stop: threading.Event, sweeper: Sweeper, interval: float) -> None:
    """Sweep every `interval` seconds until `stop` is set.

    Whatever goes wrong is logged and tried again next time: nobody would notice the thread's end.
    """
    while not stop.wait(interval):
        try:
            report = sweeper.sweep()
            sweeper.record()
            if report.removed or report.taken or report.failed:
                logger.info("Swept: %s", asdict(report))
        except (UnavailableError, TransactionAbortedError):
            logger.warning("Sweep interrupted", exc_info=True)
        except Exception:
            logger.exception("Sweep failed")
