"""The places that an export can be written to. The manifest is completed last."""

import hashlib
import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import IO

from repositories.images import ImageRecord
from s3_client import Bucket, HashedBytes, sha256_of
from services.transfer.export_format import FOLDER, MANIFEST, UNFINISHED, first_line
from services.transfer.failures import TransferError

_PART = ".part"


class FolderTarget:
    """A folder on disk. Each file gets its name when it is complete."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def begin(self) -> None:
        """Create the folder and the marker. Raises TransferError if something else uses it."""
        try:
            self._root.mkdir(parents=True, exist_ok=True)
            if not _may_be_export({entry.name for entry in self._root.iterdir()}):
                raise TransferError(f"{self._root} is not empty and not an export.")
            (self._root / FOLDER).mkdir(exist_ok=True)
            (self._root / UNFINISHED).write_text(first_line())
        except OSError as exc:
            raise TransferError(f"{self._root} cannot be written: {exc.strerror}.") from exc

    def has(self, file: str, image: ImageRecord) -> bool:
        """Return whether the file exists and has the SHA-256 of the image."""
        with suppress(FileNotFoundError), (self._root / file).open("rb") as opened:
            if os.fstat(opened.fileno()).st_size == image.size_bytes:
                return hashlib.file_digest(opened, "sha256").hexdigest() == image.sha256
        return False

    def put(self, file: str, content: IO[bytes], image: ImageRecord) -> None:
        """Write the file, with the date of the image. Raises TransferError."""
        path = self._root / file
        part = path.with_name(path.name + _PART)
        try:
            with part.open("wb") as opened:
                content.seek(0)
                shutil.copyfileobj(content, opened)
            moment = image.created_at.timestamp()
            os.utime(part, (moment, moment))
            part.replace(path)
        except OSError as exc:
            raise TransferError(f"{path} cannot be written: {exc.strerror}.") from exc

    def finish(self, manifest: IO[bytes]) -> None:
        """Write the manifest over the marker and rename it, after syncing all files to disk."""
        draft = self._root / UNFINISHED
        try:
            for part in (self._root / FOLDER).glob(f"*{_PART}"):
                part.unlink()
            with draft.open("wb") as opened:
                manifest.seek(0)
                shutil.copyfileobj(manifest, opened)
            os.sync()
            draft.replace(self._root / MANIFEST)
            os.sync()
        except OSError as exc:
            raise TransferError(f"{draft} cannot be written: {exc.strerror}.") from exc


class BucketTarget:
    """A bucket below a prefix. S3 verifies the SHA-256 of each file."""

    def __init__(self, bucket: Bucket, prefix: str) -> None:
        self._bucket, self._prefix = bucket, prefix
        self._sizes: dict[str, int] = {}

    def begin(self) -> None:
        """List the existing objects, and put the marker.

        Raises StorageUnavailableError, or TransferError if something else uses the prefix.
        """
        start = len(self._prefix)
        listed = self._bucket.list_objects(self._prefix)
        self._sizes = {key[start:]: size for key, size in listed}
        if not _may_be_export({path.partition("/")[0] for path in self._sizes}):
            raise TransferError(f"s3://…/{self._prefix} is not empty and not an export.")
        self._put_lines(UNFINISHED, HashedBytes(first_line().encode()))

    def has(self, file: str, image: ImageRecord) -> bool:
        """Return whether `begin` found the object with the size of the image."""
        return self._sizes.get(file) == image.size_bytes

    def put(self, file: str, content: IO[bytes], image: ImageRecord) -> None:
        """Put the object. Raises StorageUnavailableError."""
        key, media_type = self._prefix + file, image.content_type
        self._bucket.upload_image(content, key, media_type, sha256=image.sha256)

    def finish(self, manifest: IO[bytes]) -> None:
        """Put the manifest, then delete the marker. Raises StorageUnavailableError."""
        self._put_lines(MANIFEST, manifest)
        self._bucket.delete_image(self._prefix + UNFINISHED)

    def _put_lines(self, file: str, lines: IO[bytes]) -> None:
        key, sha256 = self._prefix + file, sha256_of(lines)
        self._bucket.upload_image(lines, key, "application/jsonl", sha256=sha256)


Target = FolderTarget | BucketTarget
"""A place for an export. A second run completes what the first one began."""


def _may_be_export(entries: set[str]) -> bool:
    """Return whether a place with only these entries is empty or may be an export."""
    return entries <= {MANIFEST, UNFINISHED, FOLDER} and entries != {FOLDER}
