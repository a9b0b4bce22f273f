"""The write protocol for several new images that share two transactions.

Each image takes the same steps as a single one: journal, PUT, switch. Without the shared
transactions, an import takes a tenth more CPU.
"""

import time
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Any, NamedTuple

from db import retry, writing
from errors import UploadInterruptedError
from repositories import images, pending_objects
from s3_client import generate_s3_key
from services.inspection import ImageInfo
from services.origin import Origin
from services.write_protocol import NewObject, WriteProtocol


class NewImage(NamedTuple):
    """An inspected file for a name that has no image yet."""

    new: NewObject
    info: ImageInfo
    origin: Origin


class BulkWriteProtocol(WriteProtocol):
    """The write protocol for single images and for batches of new ones."""

    def store_new_images(self, batch: Sequence[NewImage]) -> None:
        """Store all images of a batch, or none.

        Raises what `store_object` raises, and TransactionAbortedError if one of the names has an
        image by now. Then store each image by itself.
        """
        # All imports use the same order, so that two imports of one source do not deadlock.
        ordered = sorted(batch, key=lambda image: image.new.name)
        keys = [generate_s3_key(image.new.name, image.new.extension) for image in ordered]
        pairs = list(zip(keys, ordered, strict=True))
        # The entries have one date, so the time limits of the PUTs begin together.
        started = time.time()
        retry(lambda _: self._journal_uploads(keys))
        with ExitStack() as abandoned:
            for key, image in pairs:
                # An object whose PUT failed may still land: its key is left to the sweeper.
                self._put_object(image.new, key, started)
                abandoned.callback(self._abandon_upload, key)
            self._commit_uploads(
                [self._new_row(key, new.name, info, origin) for key, (new, info, origin) in pairs]
            )
            abandoned.pop_all()

    def _journal_uploads(self, keys: Sequence[str]) -> None:
        with writing(self._session, single_statement=True) as connection:
            pending_objects.journal_uploads(connection, keys, datetime.now(UTC))

    def _commit_uploads(self, rows: Sequence[dict[str, Any]]) -> None:
        with writing(self._session) as connection:
            keys = [row["s3_key"] for row in rows]
            if not pending_objects.finish_uploads(connection, keys):
                raise UploadInterruptedError
            images.insert_images(connection, rows)
