"""Verification: finds differences between bucket and tables that should never occur.

It lists the whole bucket, reads all tables in one snapshot, and merges both by key. The service
keeps writing meanwhile, so each mismatch is only a suspect that is checked again. Temporary files
(in TMPDIR) hold the listing and the suspects. Thus memory does not grow with the number of images,
and no transaction is open while objects are read.
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
_BATCH = 32  # suspects per thread that are checked in one go
_MAX_KEY_LENGTH = 255  # characters in the tables; a bucket allows 1024 bytes
_Item = TypeVar("_Item")

Progress = Callable[[str, int, int | None], None]
"""Called with the current step, the number of finished items, and the total if it is known."""


class Damage(StrEnum):
    """The kinds of damage to one key."""

    LOST = "lost"  # an image row names an object that does not exist
    ORPHAN = "orphan"  # no row names the object
    DOOMED = "doomed"  # the journal names the object of an image, so the sweeper will delete it
    WRONG_SIZE = "wrong_size"  # the size of the object is not the one in its row
    ALTERED = "altered"  # the SHA-256 of the object is not the one in its row
    UNREADABLE = "unreadable"  # the store answers, but refuses this object


class StoredObject(NamedTuple):
    """An object in the store; its size is None if the object cannot be read."""

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
    """The numbers of verified objects and rows.

    `found` counts the damage by kind, and `journaled` the part that is repaired.
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
    """Compares a bucket with the tables. Any number may run at any time beside the service.

    With `deep` it reads and hashes the object of every image and variant. With `repairs` it
    journals orphans and damaged variants, and changes nothing else.
    """

    sessions: sessionmaker[Session]
    bucket: Bucket
    settings: Settings
    deep: bool = False
    repairs: bool = False

    def verify(self, found: Callable[[Finding], None], progress: Progress) -> VerifyReport:
        """Check every key once; call `found` with each finding.

        Raises StorageUnavailableError or DatabaseUnavailableError, and OSError if the disk is full.
        Earlier findings and repairs remain valid.
        """
        report = VerifyReport()
        with TemporaryFile("w+") as listed, TemporaryFile("w+") as suspects:
            # Listing precedes the snapshot: an object is journaled before it exists, so the tables
            # name every listed object that still exists.
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
        """Yield the keys to check: mismatches, and with `deep` every image and variant."""
        with snapshot(self.sessions()) as connection:
            entries = (StoredObject(*entry) for entry in stored)
            for key, entry, rows in _by_key(entries, references.read_all(connection)):
                report.count(entry, rows)
                if _damage(entry, rows) or (self.deep and _row(rows)):
                    yield key

    def _settle_all(self, keys: Iterable[str]) -> Iterator[Finding | None]:
        remaining = iter(keys)
        with ThreadPoolExecutor(self.settings.concurrency) as pool:
            while batch := list(islice(remaining, _BATCH * self.settings.concurrency)):
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
        """Return the current damage to one key, or None.

        A key goes through its states in a fixed order: journaled, named by a row, journaled, gone.
        So if the rows are the same before and after the object is read, they did not change.
        """
        rows, before = self._rows(key), None
        while rows != before:
            before = rows
            stored = self._stored(key, readable=_row(rows) is not None)
            rows = self._rows(key)
        damage = _damage(stored, rows)
        return Finding(damage, key, stored, _row(rows)) if damage else None

    def repair(self, orphan: Finding) -> Finding | None:
        """Journal an orphan, even if the finding is outdated; return the remaining finding.

        INSERT precedes SELECT: either the SELECT sees the row of a concurrent upload, or that
        upload finds its key taken. In the reverse order, the upload would lose its object.

        `claimed_at` makes the sweeper wait for the horizon: the protocol leaves no orphans, so a
        PUT of this key may still land, or the operator may have named the wrong database.
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
        """Download an object if it is `readable`, else list it.

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
    """Return the damage that the object and the rows of one key show."""
    row = _row(rows)
    if row is None:
        return Damage.ORPHAN if stored and not rows else None
    if stored is None:
        return Damage.LOST if row.is_image else None  # the service makes a lost variant again
    if row.is_image and len(rows) > 1:
        return Damage.DOOMED
    if stored.size_bytes is None:
        return Damage.UNREADABLE
    if stored.size_bytes != row.size_bytes:
        return Damage.WRONG_SIZE
    return Damage.ALTERED if stored.sha256 not in {None, row.sha256} else None


def _fits_tables(key: str) -> bool:
    return len(key) <= _MAX_KEY_LENGTH and "\0" not in key


def _row(rows: list[Reference]) -> Reference | None:
    """Return the row of the image or variant, if any; ignore those of the journal."""
    return next((row for row in rows if row.is_image or row.is_variant), None)


def _by_key(
    listed: Iterable[StoredObject], rows: Iterable[Reference]
) -> Iterator[tuple[str, StoredObject | None, list[Reference]]]:
    """Merge listing and rows, both sorted by key.

    Python compares by code point, which is the order of UTF-8 bytes. If a store lists in another
    order (SeaweedFS lists `a/b` before `a-b`), the object and the row of a key are yielded
    separately. That causes two suspects, but hides no damage.
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
    """Return the records that `_spool` wrote."""
    file.seek(0)
    return map(json.loads, file)


def _follow(
    items: Iterable[_Item], progress: Progress, what: str, total: int | None = None
) -> Iterator[_Item]:
    """Yield the items, and call `progress` after each."""
    for done, item in enumerate(items, 1):
        yield item
        progress(what, done, total)
