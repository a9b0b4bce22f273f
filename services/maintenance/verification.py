"""Verification: looks for disagreements of bucket and tables, which the write protocol rules out.

It lists the whole bucket, reads all tables in one snapshot, and merges the two by key. A mismatch
is only a suspicion, because the service keeps writing: each suspect is checked again by itself.
The listing and the suspects are kept in temporary files (in TMPDIR), so memory does not grow with
the number of images, and no transaction is open while objects are read.
"""

import hashlib
import heapq
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from itertools import groupby, islice
from operator import itemgetter
from tempfile import TemporaryFile
from typing import IO, Any, NamedTuple, TypeVar

from sqlalchemy.orm import Session, sessionmaker

from config import Settings
from db import reading, snapshot, writing
from errors import ObjectMissingError, StorageUnavailableError, TransactionAbortedError
from repositories import pending_objects, references
from repositories.references import Reference
from s3_client import Bucket, ObjectBody
from services.write_protocol import journal_variant
from telemetry.job_metrics import write_verification

_CHUNK = 256 * 1024  # bytes of an object in memory at a time, per thread
_BATCH = 32  # suspects per thread that are handed out at a time
_LONGEST_KEY = 255  # characters in the tables; keys in the bucket may have 1024 bytes
_Item = TypeVar("_Item")

Progress = Callable[[str, int, int | None], None]
"""Called with the current step, how many items are done, and of how many, if that is known."""


class Damage(StrEnum):
    """What can be wrong with one key."""

    LOST = "lost"  # an image row names an object that does not exist
    ORPHAN = "orphan"  # no row names the object
    DOOMED = "doomed"  # the journal names the object of an image, so the sweeper will delete it
    WRONG_SIZE = "wrong_size"  # the object does not have the size in its row
    ALTERED = "altered"  # the object does not have the SHA-256 in its row
    UNREADABLE = "unreadable"  # the store answers, but refuses this object


class StoredObject(NamedTuple):
    """An object as the store has it; the size in bytes is None if the object cannot be read."""

    key: str
    size_bytes: int | None
    sha256: str | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """Damage to one key: the object, and the row of the image or variant that names it."""

    damage: Damage
    key: str
    stored: StoredObject | None
    row: Reference | None
    journaled: bool = False  # repaired: the sweeper will delete the object


@dataclass(slots=True)
class VerifyReport:
    """The numbers of objects and rows that a verification saw.

    `found` counts the damage by kind, and `journaled` how much of it is repaired.
    """

    objects: int = 0
    images: int = 0
    variants: int = 0
    entries: int = 0
    found: Counter[Damage] = field(default_factory=Counter)
    journaled: int = 0

    @property
    def clean(self) -> bool:
        """Whether no damage is left."""
        return self.found.total() == self.journaled

    def count(self, stored: StoredObject | None, rows: list[Reference]) -> None:
        """Count the object and the rows of one key."""
        images = sum(reference.is_image for reference in rows)
        variants = sum(reference.is_variant for reference in rows)
        self.objects += stored is not None
        self.images += images
        self.variants += variants
        self.entries += len(rows) - images - variants


@dataclass(frozen=True, slots=True)
class Verifier:
    """Compares a bucket with the tables. Safe at any time, in any number, beside the service.

    `deep` reads and hashes the object of every image and variant. `repairs` journals orphans and
    damaged variants, and changes nothing else.
    """

    sessions: sessionmaker[Session]
    bucket: Bucket
    settings: Settings
    deep: bool = False
    repairs: bool = False

    def verify(self, found: Callable[[Finding], None], progress: Progress) -> VerifyReport:
        """Check every key once; call `found` with each finding.

        Raises StorageUnavailableError or DatabaseUnavailableError, and OSError if the disk is full.
        Earlier findings remain true, and earlier repairs remain done.
        """
        report = VerifyReport()
        with TemporaryFile("w+") as listed, TemporaryFile("w+") as suspects:
            # List before the snapshot: an object is journaled before it exists, so the tables name
            # every listed object that is still there.
            objects = _spool(listed, _follow(self.bucket.list_objects(), progress, "listing"))
            stored = _follow(_records(listed), progress, "comparing", objects)
            suspicions = _spool(suspects, self._suspects(stored, report))
            findings = self._settle_all(_records(suspects))
            for finding in _follow(findings, progress, "checking", suspicions):
                if finding:
                    report.found[finding.damage] += 1
                    report.journaled += finding.journaled
                    found(finding)
        if (folder := self.settings.metrics_folder) and not report.found[Damage.UNREADABLE]:
            write_verification(folder, {kind: report.found[kind] for kind in Damage})
        return report

    def _suspects(self, stored: Iterable[list[Any]], report: VerifyReport) -> Iterator[str]:
        """Yield the keys to check: those that do not match, and all to be hashed."""
        with snapshot(self.sessions()) as connection:
            entries = (StoredObject(*entry) for entry in stored)
            for key, entry, rows in _by_key(entries, references.read_all(connection)):
                report.count(entry, rows)
                if _damage(entry, rows) or (self.deep and _row(rows)):
                    yield key

    def _settle_all(self, keys: Iterable[str]) -> Iterator[Finding | None]:
        waiting = iter(keys)
        with ThreadPoolExecutor(self.settings.concurrency) as pool:
            while batch := list(islice(waiting, _BATCH * self.settings.concurrency)):
                yield from pool.map(self._settle, batch)

    def _settle(self, key: str) -> Finding | None:
        finding = self.judge(key)
        if not self.repairs or finding is None:
            return finding
        if finding.damage is Damage.ORPHAN:
            return self.repair(finding)
        if finding.row and finding.row.is_variant and finding.damage is not Damage.UNREADABLE:
            journal_variant(self.sessions(), key)
            return replace(finding, journaled=True)
        return finding

    def judge(self, key: str) -> Finding | None:
        """Return the current damage to one key, None if there is none.

        The states of a key have one order: journaled, named by a row, journaled, gone. So if the
        tables say the same before and after the object is read, they said it meanwhile.
        """
        rows, before = self._rows(key), None
        while rows != before:
            before = rows
            stored = self._stored(key, readable=_row(rows) is not None)
            rows = self._rows(key)
        damage = _damage(stored, rows)
        return Finding(damage, key, stored, _row(rows)) if damage else None

    def repair(self, orphan: Finding) -> Finding | None:
        """Journal an orphan, however old the finding; return what remains of it.

        INSERT before SELECT: either the SELECT sees the row of an upload that commits meanwhile, or
        that upload finds its key taken. In the reverse order it would lose its object.

        With `claimed_at` the sweeper waits for the horizon. The protocol leaves no orphans, so a
        PUT of this key may still land, and an operator may have named the wrong database.
        """
        if not _fits_tables(orphan.key):
            return orphan
        now = datetime.now(UTC)
        try:
            with writing(self.sessions()) as connection:
                pending_objects.journal_deletion(connection, orphan.key, now, claimed_at=now)
                if _row(references.read_of_key(connection, orphan.key)):
                    raise TransactionAbortedError
        except TransactionAbortedError:
            return self.judge(orphan.key)
        return replace(orphan, journaled=True)

    def _rows(self, key: str) -> list[Reference]:
        if not _fits_tables(key):
            return []
        with reading(self.sessions()) as connection:
            return references.read_of_key(connection, key)

    def _stored(self, key: str, *, readable: bool) -> StoredObject | None:
        """Look at one object: download it if it is `readable`, else list it.

        The service did not generate the key of an orphan, and may be unable to download it.
        """
        if not readable:
            listed = (StoredObject(*entry) for entry in self.bucket.list_objects(key))
            return next((stored for stored in listed if stored.key == key), None)
        try:
            return self._read(key, self.bucket.download_image(key))
        except ObjectMissingError:
            return None
        except StorageUnavailableError:
            self.bucket.check()  # if the whole store is down, this object is not damaged
            return StoredObject(key, None)

    def _read(self, key: str, body: ObjectBody) -> StoredObject:
        with closing(body):
            if not self.deep:
                return StoredObject(key, body.length)
            digest, size = hashlib.sha256(), 0
            while chunk := body.read(_CHUNK):
                digest.update(chunk)
                size += len(chunk)
            return StoredObject(key, size, digest.hexdigest())


def _damage(stored: StoredObject | None, rows: list[Reference]) -> Damage | None:
    """Return what is wrong between the object and the rows of one key."""
    row = _row(rows)
    if row is None:
        return Damage.ORPHAN if stored and not rows else None
    if stored is None:
        return Damage.LOST if row.is_image else None  # the service makes a lost variant again
    judgements = {
        Damage.DOOMED: row.is_image and len(rows) > 1,
        Damage.UNREADABLE: stored.size_bytes is None,
        Damage.WRONG_SIZE: stored.size_bytes != row.size_bytes,
        Damage.ALTERED: stored.sha256 not in {None, row.sha256},
    }
    return next((damage for damage, is_so in judgements.items() if is_so), None)


def _fits_tables(key: str) -> bool:
    return len(key) <= _LONGEST_KEY and "\0" not in key


def _row(rows: list[Reference]) -> Reference | None:
    """Return the row of the image or variant, without those of the journal."""
    return next((row for row in rows if row.is_image or row.is_variant), None)


def _by_key(
    listed: Iterable[StoredObject], rows: Iterable[Reference]
) -> Iterator[tuple[str, StoredObject | None, list[Reference]]]:
    """Merge listing and rows, both sorted by key.

    Python compares by code point, which is the order of UTF-8 bytes. If a store lists in another
    order (SeaweedFS lists `a/b` before `a-b`), object and row of a key do not meet. That causes
    two suspicions, but hides no damage.
    """
    by_key = itemgetter(0)
    for key, group in groupby(heapq.merge(listed, rows, key=by_key), key=by_key):
        entries = list(group)
        stored = next((entry for entry in entries if isinstance(entry, StoredObject)), None)
        yield key, stored, [entry for entry in entries if isinstance(entry, Reference)]


def _spool(file: IO[str], records: Iterable[object]) -> int:
    """Write records to a file as JSON Lines; return their number."""
    return sum(1 for record in records if file.write(json.dumps(record) + "\n"))


def _records(file: IO[str]) -> Iterator[Any]:
    """Read what `_spool` wrote."""
    file.seek(0)
    return map(json.loads, file)


def _follow(
    items: Iterable[_Item], progress: Progress, what: str, total: int | None = None
) -> Iterator[_Item]:
    """Yield the items; call `progress` after each."""
    for done, item in enumerate(items, 1):
        yield item
        progress(what, done, total)
