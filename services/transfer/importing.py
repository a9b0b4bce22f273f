"""Imports: each file of a source is inspected and stored like an upload."""

import os
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from typing import IO, NamedTuple, TypeVar

from config import Settings
from errors import (
    ImageTooLargeError,
    PreconditionFailedError,
    ServiceError,
    TransactionAbortedError,
    UnavailableError,
    WriteConflictError,
)
from s3_client import sha256_of
from services.bulk_writes import NewImage
from services.image_store import ImageRecord, ImageStore, Uploader
from services.transfer.failures import FileRefusedError
from services.transfer.parallel import in_order
from services.transfer.planning import FileResult, Outcome, Plan, PlannedImage
from services.transfer.retries import patiently
from services.transfer.sources import Fetch, Source
from services.write_protocol import UploadOutcome
from telemetry import logger

# The limits of a thread's batch, which is held in memory and lost in a crash.
_BATCH, _BATCH_BYTES = 8, 2 * 1024 * 1024
_Step = TypeVar("_Step")


@dataclass(slots=True)
class ImportReport:
    """The number of files by outcome, and the total size of the stored images."""

    outcomes: Counter[Outcome] = field(default_factory=Counter)
    stored_bytes: int = 0

    def count(self, result: FileResult) -> None:
        """Count one file."""
        self.outcomes[result.outcome] += 1
        if result.outcome in {"created", "replaced"}:
            self.stored_bytes += result.size_bytes


_Task = tuple[PlannedImage, Fetch]


class _Draft(NamedTuple):
    """A copy of a file; `inspected` if its name was free."""

    image: PlannedImage
    file: IO[bytes]
    inspected: NewImage | None = None


@dataclass(frozen=True, slots=True)
class Importer:
    """Stores the images of a plan, or predicts the outcomes in a dry run."""

    open_store: Callable[[], ImageStore]
    settings: Settings
    replaces: bool = False
    dry_run: bool = False
    jobs: int = 8

    def run(self, source: Source, plan: Plan) -> Generator[FileResult]:
        """Yield what became of each file, in the order of the source.

        Raises UnavailableError, WriteConflictError, TransactionAbortedError or TransferError if
        the import has to stop. Images that were stored remain; a second run continues.
        """
        yield from plan.others
        taken: set[str] = set()
        if not self.dry_run:
            names = [image.name for image in plan.images]
            taken = patiently(lambda: self.open_store().existing_names(names))
        planned = {image.file.position: image for image in plan.images}
        contents = source.contents(
            [image.file for image in plan.images], self.settings.max_upload_bytes
        )
        tasks = ((planned[file.position], fetch) for file, fetch in contents)
        with closing(in_order(self.jobs, partial(self._import, taken), _batches(tasks))) as results:
            yield from chain.from_iterable(results)

    def _import(self, taken: set[str], batch: Sequence[_Task]) -> list[FileResult]:
        """Import a few files; commit those together whose names are not `taken`."""
        with ExitStack() as files:
            drafts = [
                _refusing(image, partial(self._draft, image, fetch, files, taken))
                for image, fetch in batch
            ]
            new = [d.inspected for d in drafts if isinstance(d, _Draft) and d.inspected]
            created = self._create(new)
            return [
                draft
                if isinstance(draft, FileResult)
                else _refusing(draft.image, partial(self._finish, draft, created=created))
                for draft in drafts
            ]

    def _draft(
        self, image: PlannedImage, fetch: Fetch, files: ExitStack, taken: set[str]
    ) -> _Draft:
        """Copy a file, which `files` closes; inspect it if its name is not `taken`."""
        file = files.enter_context(patiently(fetch))
        if file.seek(0, os.SEEK_END) > self.settings.max_upload_bytes:
            raise ImageTooLargeError.of(self.settings.max_upload_bytes)
        if image.sha256 and image.sha256 != sha256_of(file):
            raise FileRefusedError("Its SHA-256 is not the one in the manifest.")
        if self.dry_run or image.name in taken:
            return _Draft(image, file)
        store, new = self.open_store(), (file, image.name, image.extension, image.origin)
        return _Draft(image, file, patiently(lambda: store.prepare(*new)))

    def _create(self, new: Sequence[NewImage]) -> bool:
        """Store new images together; return whether that succeeded."""
        if not new:
            return False
        try:
            self.open_store().upload_new(new)
        except (UnavailableError, WriteConflictError, TransactionAbortedError):
            return False
        return True

    def _finish(self, draft: _Draft, *, created: bool) -> FileResult:
        outcome: UploadOutcome = "created"
        if not (draft.inspected and created):
            outcome = patiently(lambda: self._store(draft.image, draft.file))
        size = draft.file.seek(0, os.SEEK_END)  # stripping may have changed it
        return FileResult(draft.image.file.path, draft.image.name, outcome, size_bytes=size)

    def _store(self, image: PlannedImage, file: IO[bytes]) -> UploadOutcome:
        """Store an image in a transaction of its own."""
        store = self.open_store()
        # This keeps a second run from decoding every picture again. Stripping changes the bytes.
        strips = self.settings.strip_metadata != "none"
        if not strips and store.has_bytes(image.name, sha256_of(file)):
            return "unchanged"

        def require_equal_bytes(current: ImageRecord | None) -> None:
            if current and not self.replaces and sha256_of(file) != current.sha256:
                raise PreconditionFailedError("An image of this name has other bytes.")

        upload = (file, image.name, image.extension, require_equal_bytes)
        if self.dry_run:
            return store.foresee_upload(*upload)
        stored = store.upload(*upload, by=Uploader(origin=image.origin))
        if stored.old_key:
            store.remove_unless_kept(stored.old_key)
        return stored.outcome


def _refusing(image: PlannedImage, work: Callable[[], _Step]) -> _Step | FileResult:
    """Return the result of `work`, or why the file is refused."""
    try:
        return work()
    except (UnavailableError, WriteConflictError):  # temporary: the next run may import the file
        logger.warning("The import stops at %s", image.file.path)
        raise
    except (FileRefusedError, ServiceError) as exc:
        return FileResult(image.file.path, image.name, "refused", str(exc))


def _batches(tasks: Iterable[_Task]) -> Iterator[list[_Task]]:
    """Yield the tasks in short lists whose files fit into memory together."""
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
    """Describe the requests to the service's bucket that these outcomes take."""
    outcomes = report.outcomes
    puts = outcomes["created"] + outcomes["replaced"]
    deletes = 0 if keeps_replaced else outcomes["replaced"]
    return f"{puts:,} PUT, {outcomes['unchanged']:,} HEAD, {deletes:,} DELETE"
