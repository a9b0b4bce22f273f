"""Imports: every file of a source is inspected and stored as an upload is."""

import os
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from functools import partial
from typing import IO, NamedTuple, TypeVar

from config import Settings
from errors import (
    DatabaseUnavailableError,
    ImageTooLargeError,
    PreconditionFailedError,
    ServiceError,
    StorageUnavailableError,
    TransactionAbortedError,
    UnavailableError,
    WriteConflictError,
)
from s3_client import sha256_of
from services.bulk_writes import NewImage
from services.image_store import ImageRecord, ImageStore, Precondition, Uploader, UploadOutcome
from services.transfer.failures import FileRefusedError
from services.transfer.parallel import in_order
from services.transfer.planning import FileResult, Outcome, Plan, PlannedImage
from services.transfer.retries import patiently
from services.transfer.sources import Fetch, Source, Spooled

# What a thread takes at a time: it is in memory together, and a crash loses the work.
_BATCH, _BATCH_BYTES = 8, 2 * 1024 * 1024
_Step = TypeVar("_Step")


@dataclass(slots=True)
class ImportReport:
    """How many files had each outcome, and the bytes of the images stored."""

    outcomes: Counter[Outcome] = field(default_factory=Counter)
    stored_bytes: int = 0

    def count(self, result: FileResult) -> None:
        """Count one file."""
        self.outcomes[result.outcome] += 1
        if result.outcome in {"created", "replaced"}:
            self.stored_bytes += result.size_bytes


_Task = tuple[PlannedImage, Fetch]


class _Draft(NamedTuple):
    """A copy of a file; inspected, if its image is `new`."""

    image: PlannedImage
    spooled: Spooled
    new: NewImage | None = None


@dataclass(frozen=True, slots=True)
class Importer:
    """Stores the images of a plan, or only finds out what would happen."""

    open_store: Callable[[], ImageStore]
    settings: Settings
    replaces: bool = False
    dry_run: bool = False
    jobs: int = 8

    def run(self, source: Source, plan: Plan) -> Generator[FileResult]:
        """Yield what became of each file, in the order of the source.

        Raises StorageUnavailableError, DatabaseUnavailableError or TransferError if the rest cannot
        be imported now. What was stored stays; a second run continues.
        """
        yield from plan.others
        names = [image.name for image in plan.images]
        taken = patiently(lambda: self.open_store().existing_names(names))
        planned = {image.file.position: image for image in plan.images}
        contents = source.contents(
            [image.file for image in plan.images], self.settings.max_upload_bytes
        )
        tasks = ((planned[file.position], fetch) for file, fetch in contents)
        with closing(in_order(self.jobs, partial(self._import, taken), _batches(tasks))) as results:
            for some in results:
                yield from some

    def _import(self, taken: set[str], batch: Sequence[_Task]) -> list[FileResult]:
        """Import a few files; commit together those whose names are not `taken`."""
        with ExitStack() as files:
            drafts = [
                _refusing(
                    image, partial(self._draft, image, fetch, files, new=image.name not in taken)
                )
                for image, fetch in batch
            ]
            new = [draft.new for draft in drafts if isinstance(draft, _Draft) and draft.new]
            created = self._create(new)
            return [
                draft
                if isinstance(draft, FileResult)
                else _refusing(draft.image, partial(self._finish, draft, created=created))
                for draft in drafts
            ]

    def _draft(self, image: PlannedImage, fetch: Fetch, files: ExitStack, *, new: bool) -> _Draft:
        """Copy a file, which `files` closes, and inspect it if its image is `new`."""
        spooled = patiently(fetch)
        file = files.enter_context(spooled.file)
        if spooled.size > self.settings.max_upload_bytes:
            raise ImageTooLargeError.of(self.settings.max_upload_bytes)
        if image.sha256 and image.sha256 != spooled.sha256:
            raise FileRefusedError("Its SHA-256 is not the one in the manifest.")
        if self.dry_run or not new:
            return _Draft(image, spooled)
        store, extension = self.open_store(), image.extension or None
        prepared = patiently(lambda: store.prepare(file, image.name, extension, image.origin))
        return _Draft(image, spooled, prepared)

    def _create(self, new: Sequence[NewImage]) -> bool:
        """Store new images together; return whether that was possible."""
        if not new:
            return False
        try:
            self.open_store().upload_new(new)
        except (UnavailableError, WriteConflictError, TransactionAbortedError):
            return False
        return True

    def _finish(self, draft: _Draft, *, created: bool) -> FileResult:
        path, name = draft.image.file.path, draft.image.name
        outcome: UploadOutcome = "created"
        if not (draft.new and created):
            outcome = patiently(lambda: self._store(draft.image, draft.spooled))
        size = draft.spooled.file.seek(0, os.SEEK_END)  # it may have been stripped
        return FileResult(path, name, outcome, size_bytes=size)

    def _store(self, image: PlannedImage, spooled: Spooled) -> UploadOutcome:
        """Store an image by itself."""
        store = self.open_store()
        # Otherwise a second run would decode every picture again. A stripped file has other bytes.
        strips = self.settings.strip_metadata != "none"
        if not strips and store.has_bytes(image.name, spooled.sha256):
            return "unchanged"
        # Without an extension, the first bytes decide.
        file, extension = spooled.file, image.extension or None
        condition = self._condition(file)
        if self.dry_run:
            return store.foresee_upload(file, image.name, extension, condition)
        stored = store.upload(
            file, image.name, extension, condition, by=Uploader(origin=image.origin)
        )
        if stored.old_key:
            store.remove_unless_kept(stored.old_key)
        return stored.outcome

    def _condition(self, file: IO[bytes]) -> Precondition:
        """Refuse to replace other bytes than those of `file`, unless the operator allows it."""

        def require(current: ImageRecord | None) -> None:
            if current is None or self.replaces:
                return
            if sha256_of(file) != current.sha256:
                raise PreconditionFailedError("An image of this name has other bytes.")

        return require


def _refusing(image: PlannedImage, work: Callable[[], _Step]) -> _Step | FileResult:
    """Return the result of `work`, or that the file is refused."""
    try:
        return work()
    except (DatabaseUnavailableError, StorageUnavailableError):
        raise
    except (FileRefusedError, ServiceError) as exc:
        return FileResult(image.file.path, image.name, "refused", str(exc))


def _batches(tasks: Iterable[_Task]) -> Iterator[list[_Task]]:
    """Yield the tasks in lists that are short, and whose files fit into memory."""
    batch: list[_Task] = []
    size = 0
    for task in tasks:
        batch.append(task)
        size += task[0].file.size
        if len(batch) == _BATCH or size > _BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def requests_of(report: ImportReport, *, keeps_replaced: bool) -> str:
    """Describe the requests to the bucket of the service for so many outcomes."""
    outcomes = report.outcomes
    puts = outcomes["created"] + outcomes["replaced"]
    deletes = 0 if keeps_replaced else outcomes["replaced"]
    return f"{puts:,} PUT, {outcomes['unchanged']:,} HEAD, {deletes:,} DELETE"
