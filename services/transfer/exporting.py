"""Exports: the bytes and metadata of every image, as of one moment, while clients keep writing."""

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
from s3_client import Bucket, sha256_of
from services import read_protocol
from services.transfer.buckets import refusal_of
from services.transfer.export_format import DATES, file_name, first_line, image_line, last_line
from services.transfer.export_targets import Target
from services.transfer.parallel import in_order
from services.transfer.retries import patiently
from services.transfer.sources import pieces, spool

ExportOutcome = Literal["exported", "kept", "deleted", "lost", "altered", "unreadable"]


@dataclass(frozen=True, slots=True)
class ExportResult:
    """What became of one image.

    `kept`: an earlier run exported it; `deleted`: a client deleted it during the export; `lost`:
    its object does not exist; `altered`: its object has other bytes than its row says;
    `unreadable`: the store answers, but refuses the object.
    """

    image: ImageRecord
    outcome: ExportOutcome

    @property
    def is_complete(self) -> bool:
        """Whether the export contains the image."""
        return self.outcome in {"exported", "kept"}

    @property
    def is_damaged(self) -> bool:
        """Whether the image cannot be exported."""
        return self.outcome in {"lost", "altered", "unreadable"}


@dataclass(frozen=True, slots=True)
class Exporter:
    """Copies all images to a target."""

    sessions: sessionmaker[Session]
    bucket: Bucket
    target: Target
    jobs: int = 8

    @contextmanager
    def run(self) -> Iterator[tuple[int, Iterator[ExportResult]]]:
        """Yield the number of images, and an iterator that exports them and finishes the export.

        Raises TransferError, StorageUnavailableError or DatabaseUnavailableError if the export
        has to stop; a second run continues.
        """
        self.target.begin()
        with TemporaryFile("w+") as rows, TemporaryFile() as manifest:
            total = self._spool(rows)
            with closing(self._copy_all(rows, cast("IO[bytes]", manifest))) as results:
                yield total, results

    def _copy_all(self, rows: IO[str], manifest: IO[bytes]) -> Generator[ExportResult]:
        exported, left_out = 0, 0
        manifest.write(first_line().encode())
        with closing(in_order(self.jobs, self._export, _read(rows))) as results:
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
        """Write the rows of one moment to a file and return their number.

        The transaction ends once the rows are read, before any object is copied.
        """
        with snapshot(self.sessions()) as connection:
            rows = (image._asdict() for image in images.read_all(connection))
            lines = (json.dumps(row, default=datetime.isoformat) for row in rows)
            return sum(1 for line in lines if file.write(f"{line}\n"))

    def _export(self, image: ImageRecord) -> ExportResult:
        return patiently(lambda: self._copy(image))

    def _copy(self, image: ImageRecord) -> ExportResult:
        while True:
            file = file_name(image)
            if self.target.has(file, image):
                return ExportResult(image, "kept")
            try:
                last = image.size_bytes - 1
                if body := read_protocol.open_object(self.bucket, image, 0, last):
                    break
                image = read_protocol.describe_replacement(self.sessions(), image)
            except ImageNotFoundError:
                return ExportResult(image, "deleted")
            except ImageLostError:
                return ExportResult(image, "lost")
            except StorageUnavailableError as exc:
                if refusal_of(exc):
                    return ExportResult(image, "unreadable")
                raise
        with closing(body):
            content = spool(pieces(body), image.size_bytes)
        with content:
            if sha256_of(content) != image.sha256:
                return ExportResult(image, "altered")
            self.target.put(file, content, image)
        return ExportResult(image, "exported")


def _read(file: IO[str]) -> Iterator[ImageRecord]:
    """Yield the rows that `Exporter._spool` wrote."""
    file.seek(0)
    for line in file:
        row: dict[str, Any] = json.loads(line)
        row |= {key: datetime.fromisoformat(row[key]) for key in DATES}
        yield ImageRecord(**row)
