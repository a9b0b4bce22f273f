"""Exports: the bytes and the metadata of every image, as of one moment, while writes go on."""

import json
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from tempfile import TemporaryFile
from typing import IO, Any, Literal, cast

from sqlalchemy.orm import Session, sessionmaker

from db import snapshot
from errors import ImageLostError, ImageNotFoundError, StorageUnavailableError
from repositories import images
from repositories.images import ImageRecord
from s3_client import Bucket, ObjectBody
from services import stored_objects
from services.transfer.buckets import refusal_of
from services.transfer.manifest import file_name, first_line, image_line, last_line
from services.transfer.parallel import in_order
from services.transfer.retries import patiently
from services.transfer.sources import Spooled, pieces
from services.transfer.targets import Target

_DATES = ("created_at", "last_updated_at")

ExportOutcome = Literal["exported", "kept", "deleted", "lost", "altered", "unreadable"]
_DAMAGE: set[ExportOutcome] = {"lost", "altered", "unreadable"}


@dataclass(frozen=True, slots=True)
class ExportResult:
    """What became of one image.

    It is `kept` if an earlier run had exported it, and `deleted` if it went meanwhile. The object
    of an image can be `lost`, `altered` (with other bytes than its row says), or `unreadable`: the
    store answers, but refuses it.
    """

    image: ImageRecord
    outcome: ExportOutcome

    @property
    def is_complete(self) -> bool:
        """Whether the export has the image."""
        return self.outcome in {"exported", "kept"}

    @property
    def is_damaged(self) -> bool:
        """Whether the image cannot be exported."""
        return self.outcome in _DAMAGE


@dataclass(frozen=True, slots=True)
class Exporter:
    """Copies all images to a target."""

    sessions: sessionmaker[Session]
    bucket: Bucket
    target: Target
    jobs: int = 8

    @contextmanager
    def run(self) -> Iterator[tuple[int, Iterator[ExportResult]]]:
        """Yield the number of images, and what becomes of each.

        The export is finished after the last one. Raises TransferError, StorageUnavailableError or
        DatabaseUnavailableError if that is impossible now; a second run continues.
        """
        self.target.begin()
        with TemporaryFile("w+") as rows, TemporaryFile() as manifest:
            total = self._spool(rows)
            with closing(self._copy_all(rows, cast("IO[bytes]", manifest))) as results:
                yield total, results

    def _copy_all(self, rows: IO[str], manifest: IO[bytes]) -> Generator[ExportResult]:
        exported, left_out = 0, 0
        manifest.write(first_line().encode())
        with closing(in_order(self.jobs, self._export, _records(rows))) as results:
            for result in results:
                if result.is_complete:
                    line = image_line(file_name(result.image), result.image)
                    manifest.write(line.encode())
                exported += result.is_complete
                left_out += result.is_damaged
                yield result
        manifest.write(last_line(exported, left_out).encode())
        patiently(lambda: self.target.finish(manifest))

    def _spool(self, file: IO[str]) -> int:
        """Write the rows of one moment to a file, so that no transaction is open for long."""
        with snapshot(self.sessions()) as connection:
            return sum(
                1 for image in images.read_all(connection) if file.write(_record_line(image))
            )

    def _open(self, image: ImageRecord) -> ObjectBody | None:
        return stored_objects.open_object(self.bucket, image, 0, image.size_bytes - 1)

    def _export(self, image: ImageRecord) -> ExportResult:
        return patiently(lambda: self._copy(image))

    def _copy(self, image: ImageRecord) -> ExportResult:
        while True:
            file = file_name(image)
            if self.target.has(file, image):
                return ExportResult(image, "kept")
            try:
                if body := self._open(image):
                    break
                image = stored_objects.describe_replacement(self.sessions(), image)
            except ImageNotFoundError:
                return ExportResult(image, "deleted")
            except ImageLostError:
                return ExportResult(image, "lost")
            except StorageUnavailableError as exc:
                if refusal_of(exc):
                    return ExportResult(image, "unreadable")
                raise
        with closing(body):
            spooled = Spooled(pieces(body), image.size_bytes)
        with spooled.file:
            if spooled.sha256 != image.sha256:
                return ExportResult(image, "altered")
            self.target.put(file, spooled, image)
        return ExportResult(image, "exported")


def _record_line(image: ImageRecord) -> str:
    dates = {key: getattr(image, key).isoformat() for key in _DATES}
    return json.dumps(image._asdict() | dates) + "\n"


def _records(file: IO[str]) -> Iterator[ImageRecord]:
    file.seek(0)
    for line in file:
        values: dict[str, Any] = json.loads(line)
        for key in _DATES:
            values[key] = datetime.fromisoformat(values[key])
        yield ImageRecord(**values)
