"""The write protocol for several new images at once, which share two transactions.

Each object and row takes the same steps as one by itself: journal, PUT, switch. Transactions of one
image take an import a tenth of its CPU.
"""

import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, NamedTuple

from db import writing
from errors import UploadInterruptedError
from repositories import images, pending_objects
from s3_client import generate_s3_key
from services.inspection import ImageInfo
from services.origin import Origin
from services.write_protocol import NewObject, WriteProtocol, new_row, retry


class NewImage(NamedTuple):
    """An inspected file, and the image that it becomes. `new.name` has no image."""

    new: NewObject
    info: ImageInfo
    origin: Origin


class BulkWriteProtocol(WriteProtocol):
    """Stores single objects and rows, and several new ones together."""

    def store_new_images(self, batch: Sequence[NewImage]) -> None:
        """Store all images of a batch, or none.

        Raises what `store_object` raises, and TransactionAbortedError if a name has an image by
        now: store each image by itself then.
        """
        # In the same order everywhere, so that two imports of one source do not deadlock.
        ordered = sorted(batch, key=lambda image: image.new.name)
        keys = [generate_s3_key(image.new.name, image.new.extension) for image in ordered]
        # One deadline for all, because the entries are of one time.
        deadline = time.monotonic() + self._put_timeout
        retry(lambda _: self._journal_uploads(keys))
        with ExitStack() as abandoned:
            for key, image in zip(keys, ordered, strict=True):
                # An object whose PUT failed may still land: its key is left to the sweeper.
                self._put_object(image.new, key, deadline)
                abandoned.callback(self._abandon_upload, key)
            self._commit_uploads([self._row(*pair) for pair in zip(keys, ordered, strict=True)])
            abandoned.pop_all()

    def _journal_uploads(self, keys: Sequence[str]) -> None:
        with writing(self._session, single_statement=True) as connection:
            pending_objects.journal_uploads(connection, keys, datetime.now(UTC))

    def _row(self, key: str, image: NewImage) -> dict[str, Any]:
        values = {"name": image.new.name, "s3_key": key} | asdict(image.info)
        return new_row(values, self._deletions.last_stored(image.new.name), image.origin)

    def _commit_uploads(self, rows: Sequence[dict[str, Any]]) -> None:
        with writing(self._session) as connection:
            keys = [row["s3_key"] for row in rows]
            if not pending_objects.finish_uploads(connection, keys):
                raise UploadInterruptedError
            images.insert_images(connection, rows)
