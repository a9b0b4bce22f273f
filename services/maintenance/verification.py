"""Whether bucket and tables agree: what the write protocol rules out, looked for all the same.

First the whole bucket is listed, then all tables are read in one snapshot, and the two are
merged by key. What does not fit is only a suspicion, for the world moves meanwhile; each suspect
is looked at again by itself before it is reported as damage. The list and the suspects lie in
temporary files (in TMPDIR), so that any number of images takes the same memory, and the snapshot
lasts only as long as the merge: neither slow storage nor hashing holds a transaction open.
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
from errors import (
    ObjectMissingError,
    StorageUnavailableError,
    TransactionAbortedError,
)
from repositories import pending_objects, references
from repositories.references import Reference
from s3_client import Bucket, ObjectBody
from telemetry.job_metrics import write_verification

_CHUNK = 256 * 1024  # bytes of an object in memory at a time, per thread
_BATCH = 32  # suspects per thread that are handed out at a time
_LONGEST_KEY = 255  # characters: what the tables hold; strangers' keys may have 1024 bytes
_Item = TypeVar("_Item")
# Called with what is being done, how much of it is done, and of how much (None: not known).
Progress = Callable[[str, int, int | None], None]


class Damage(StrEnum):
    """What can be wrong with one key."""

    LOST = "lost"  # an image row names an object that does not exist
    ORPHAN = "orphan"  # neither a row nor the journal names the object
    DOOMED = "doomed"  # the journal names the object of an image, so the sweeper will delete it
    WRONG_SIZE = "wrong_size"  # the object is not of the size that its row says
    ALTERED = "altered"  # the object does not have the SHA-256 that its row says
    UNREADABLE = "unreadable"  # the store answers, but does not give out this image's object


class StoredObject(NamedTuple):
    """What the store says of an object; size in bytes, None when it could not be read."""

    key: str
    size_bytes: int | None
    sha256: str | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """Damage to one key: what the store has, and what the image row says."""

    damage: Damage
    key: str
    stored: StoredObject | None
    image: Reference | None
    journaled: bool = False  # repaired: the sweeper will remove it


@dataclass(slots=True)
class VerifyReport:
    """What one verification saw: the numbers of objects, and of each table's rows.

    `found`: the damage, by kind; `journaled`: how many of it are orphans that are repaired.
    """

    objects: int = 0
    images: int = 0
    variants: int = 0
    entries: int = 0
    found: Counter[Damage] = field(default_factory=Counter)
    journaled: int = 0

    @property
    def clean(self) -> bool:
        """Whether all is well now."""
        return self.found.total() == self.journaled

    def see(self, stored: StoredObject | None, rows: list[Reference]) -> None:
        """Count what there is of one key."""
        images = sum(reference.is_image for reference in rows)
        self.objects += stored is not None
        variants = sum(reference.is_variant for reference in rows)
        self.images += images
        self.variants += variants
        self.entries += len(rows) - images - variants


@dataclass(frozen=True, slots=True)
class Verifier:
    """Compares a bucket with the tables. Safe at any time, in any number, beside the service.

    `deep` reads and hashes every image's object; `repairs` journals orphans, and nothing else.
    """

    sessions: sessionmaker[Session]
    bucket: Bucket
    settings: Settings
    deep: bool = False
    repairs: bool = False

    def verify(self, found: Callable[[Finding], None], progress: Progress) -> VerifyReport:
        """Look at every key once; call `found` with each damage as it turns up.

        Raises StorageUnavailableError or DatabaseUnavailableError, and OSError when the disk is
        full; what was found until then is true, and what was repaired stays so.
        """
        report = VerifyReport()
        with TemporaryFile("w+") as listed, TemporaryFile("w+") as suspects:
            # To its end before the snapshot: an object is journaled before it is there, so that
            # the tables name whatever was listed, unless it went.
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
        """Yield the keys that need a closer look: what does not fit, and all that is to be read."""
        with snapshot(self.sessions()) as connection:
            entries = (StoredObject(*entry) for entry in stored)
            for key, entry, rows in _by_key(entries, references.read_all(connection)):
                report.see(entry, rows)
                if _damage(entry, rows) or (self.deep and _image(rows)):
                    yield key

    def _settle_all(self, keys: Iterable[str]) -> Iterator[Finding | None]:
        waiting = iter(keys)
        with ThreadPoolExecutor(self.settings.concurrency) as pool:
            while batch := list(islice(waiting, _BATCH * self.settings.concurrency)):
                yield from pool.map(self._settle, batch)

    def _settle(self, key: str) -> Finding | None:
        finding = self.judge(key)
        if self.repairs and finding and finding.damage is Damage.ORPHAN:
            return self.repair(finding)
        return finding

    def judge(self, key: str) -> Finding | None:
        """Return the damage to one key as it is now, None when there is none.

        A key's life has one direction: journaled, named by a row, journaled, gone. So tables
        that say the same before and after a look at the object said it during the look, too.
        """
        rows, before = self._rows(key), None
        while rows != before:
            before = rows
            stored = self._stored(key, readable=_image(rows) is not None)
            rows = self._rows(key)
        damage = _damage(stored, rows)
        return Finding(damage, key, stored, _image(rows)) if damage else None

    def repair(self, orphan: Finding) -> Finding | None:
        """Journal an orphan, however old the finding; return what remains of it.

        INSERT before SELECT: an upload that commits between the two would lose its object to the
        sweeper in the other order (`tests/tools/protocol_model.py`, at READ COMMITTED). In this
        order its row is seen, or it finds its key taken.

        With `claimed_at` the sweeper waits its horizon before it deletes. The protocol leaves no
        orphans, so nobody knows where this one is from: a PUT on its key may still land, and an
        operator who took a wrong database for the right one has an hour to notice.
        """
        if not _fits_tables(orphan.key):
            return orphan
        now = datetime.now(UTC)
        try:
            with writing(self.sessions()) as connection:
                pending_objects.journal_deletion(connection, orphan.key, now, claimed_at=now)
                if _image(references.read_of_key(connection, orphan.key)):
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
        """Look at one object: the way downloads go when it is an image's, else in the list.

        A stranger's key may be one that downloads, which know only keys of ours, cannot ask for.
        """
        if not readable:
            listed = (StoredObject(*entry) for entry in self.bucket.list_objects(key))
            return next((stored for stored in listed if stored.key == key), None)
        try:
            return self._read(key, self.bucket.download_image(key))
        except ObjectMissingError:
            return None
        except StorageUnavailableError:
            self.bucket.check()  # when all storage is down, that is no finding
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
    """Judge what the store and the tables say of one key."""
    image = _image(rows)
    if image is None:
        # A variant without its object is none: variants/variant_store.py makes it again.
        return Damage.ORPHAN if stored and not rows else None
    if stored is None:
        return Damage.LOST
    judgements = {
        Damage.DOOMED: len(rows) > 1,
        Damage.UNREADABLE: stored.size_bytes is None,
        Damage.WRONG_SIZE: stored.size_bytes != image.size_bytes,
        Damage.ALTERED: stored.sha256 not in {None, image.sha256},
    }
    return next((damage for damage, is_so in judgements.items() if is_so), None)


def _fits_tables(key: str) -> bool:
    return len(key) <= _LONGEST_KEY and "\0" not in key


def _image(rows: list[Reference]) -> Reference | None:
    return next((reference for reference in rows if reference.is_image), None)


def _by_key(
    listed: Iterable[StoredObject], rows: Iterable[Reference]
) -> Iterator[tuple[str, StoredObject | None, list[Reference]]]:
    """Bring together what both say of each key, both being sorted by it.

    Python compares by code point, which is the order of UTF-8 bytes. Where a side is sorted
    otherwise (SeaweedFS lists `a/b` before `a-b`), what belongs together comes apart: that makes
    two suspicions where there was none, but no damage is missed.
    """
    by_key = itemgetter(0)
    for key, entries in groupby(heapq.merge(listed, rows, key=by_key), key=by_key):
        said = list(entries)
        stored = next((entry for entry in said if isinstance(entry, StoredObject)), None)
        yield key, stored, [entry for entry in said if isinstance(entry, Reference)]


def _spool(file: IO[str], records: Iterable[object]) -> int:
    """Write records of JSON to a file; return their number."""
    return sum(1 for record in records if file.write(json.dumps(record) + "\n"))


def _records(file: IO[str]) -> Iterator[Any]:
    """Read what `_spool` wrote."""
    file.seek(0)
    return map(json.loads, file)


def _follow(
    items: Iterable[_Item], progress: Progress, what: str, total: int | None = None
) -> Iterator[_Item]:
    """Yield the items, and tell `progress` of each that is done with."""
    for done, item in enumerate(items, 1):
        yield item
        progress(what, done, total)
