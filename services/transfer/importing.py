"""Imports: every file of a source goes through the use case of an upload."""

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass, field
from typing import IO

from config import Settings
from errors import (
    DatabaseUnavailableError,
    ImageTooLargeError,
    PreconditionFailedError,
    ServiceError,
    StorageUnavailableError,
)
from services.image_store import ImageRecord, ImageStore, Precondition, Uploader, UploadOutcome
from services.transfer.failures import FileRefusedError
from services.transfer.parallel import in_order
from services.transfer.planning import FileResult, Outcome, Plan, PlannedImage
from services.transfer.retries import patiently
from services.transfer.sources import Fetch, Source, Spooled


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
        planned = {image.file.position: image for image in plan.images}
        contents = source.contents(
            [image.file for image in plan.images], self.settings.max_upload_bytes
        )
        tasks = ((planned[file.position], fetch) for file, fetch in contents)
        with closing(in_order(self.jobs, self._import, tasks)) as results:
            yield from results

    def _import(self, task: tuple[PlannedImage, Fetch]) -> FileResult:
        image, fetch = task
        path = image.file.path
        try:
            spooled = patiently(fetch)
            with spooled.file:
                outcome = patiently(lambda: self._store(image, spooled))
                size = spooled.file.seek(0, os.SEEK_END)  # it may have been stripped
        except (DatabaseUnavailableError, StorageUnavailableError):
            raise
        except (FileRefusedError, ServiceError) as exc:
            return FileResult(path, image.name, "refused", str(exc))
        return FileResult(path, image.name, outcome, size_bytes=size)

    def _store(self, image: PlannedImage, spooled: Spooled) -> UploadOutcome:
        if spooled.size > self.settings.max_upload_bytes:
            raise ImageTooLargeError.of(self.settings.max_upload_bytes)
        if image.sha256 not in {None, spooled.sha256}:
            raise FileRefusedError("Its SHA-256 is not the one in the manifest.")
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
            file.seek(0)
            if hashlib.file_digest(file, "sha256").hexdigest() != current.sha256:  # type: ignore[arg-type]
                raise PreconditionFailedError("An image of this name has other bytes.")

        return require


def requests_of(report: ImportReport, *, keeps_replaced: bool) -> str:
    """Describe the requests to the bucket of the service for so many outcomes."""
    outcomes = report.outcomes
    puts = outcomes["created"] + outcomes["replaced"]
    deletes = 0 if keeps_replaced else outcomes["replaced"]
    return f"{puts:,} PUT, {outcomes['unchanged']:,} HEAD, {deletes:,} DELETE"
