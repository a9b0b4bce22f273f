"""Where an export goes. The manifest gets its name last, when everything else is there."""

import hashlib
import os
import shutil
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import IO, Protocol

from repositories.images import ImageRecord
from s3_client import Bucket
from services.transfer.failures import TransferError
from services.transfer.manifest import FOLDER, MANIFEST, UNFINISHED, first_line
from services.transfer.sources import Spooled, pieces

_PART = ".part"
_JSON_LINES = "application/jsonl"


class Target(Protocol):
    """A place for an export. A second run completes what the first began."""

    def begin(self) -> None:
        """Mark the place as an unfinished export. Raises TransferError if others use it."""
        ...

    def has(self, file: str, image: ImageRecord) -> bool:
        """Return whether the file of an image is there already, with its bytes."""
        ...

    def put(self, file: str, content: Spooled, image: ImageRecord) -> None:
        """Store the file of an image."""
        ...

    def finish(self, manifest: IO[bytes]) -> None:
        """Store the manifest, which makes the export a finished one."""
        ...


class FolderTarget:
    """A folder on disk. Each file gets its name when it is whole."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def begin(self) -> None:
        """Create the folder and the marker. Raises TransferError."""
        try:
            if self._root.exists() and not _may_hold(entry.name for entry in self._root.iterdir()):
                raise TransferError(f"{self._root} is not empty and not an export.")
            (self._root / FOLDER).mkdir(parents=True, exist_ok=True)
            (self._root / UNFINISHED).write_text(first_line())
        except OSError as exc:
            raise TransferError(f"{self._root} cannot be written: {exc.strerror}.") from exc

    def has(self, file: str, image: ImageRecord) -> bool:
        """Return whether the file exists and has the SHA-256 of the image."""
        with suppress(FileNotFoundError), (self._root / file).open("rb") as opened:
            if os.fstat(opened.fileno()).st_size == image.size_bytes:
                return hashlib.file_digest(opened, "sha256").hexdigest() == image.sha256
        return False

    def put(self, file: str, content: Spooled, image: ImageRecord) -> None:
        """Write the file; its date becomes that of the image."""
        path = self._root / file
        part = path.with_name(path.name + _PART)
        try:
            with part.open("wb") as opened:
                content.file.seek(0)
                shutil.copyfileobj(content.file, opened)
            moment = image.created_at.timestamp()
            os.utime(part, (moment, moment))
            part.replace(path)
        except OSError as exc:
            raise TransferError(f"{path} cannot be written: {exc.strerror}.") from exc

    def finish(self, manifest: IO[bytes]) -> None:
        """Write the manifest over the marker and rename it, after all files are on disk."""
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
    """A bucket below a prefix. S3 compares the SHA-256 of what it receives."""

    def __init__(self, bucket: Bucket, prefix: str) -> None:
        self._bucket, self._prefix = bucket, prefix
        self._sizes: dict[str, int] = {}

    def begin(self) -> None:
        """List what is there, and put the marker. Raises TransferError."""
        start = len(self._prefix)
        listed = self._bucket.list_objects(self._prefix)
        self._sizes = {key[start:]: size for key, size in listed}
        if not _may_hold({path.partition("/")[0] for path in self._sizes}):
            raise TransferError(f"s3://…/{self._prefix} is not empty and not an export.")
        with (marker := Spooled([first_line().encode()])).file:
            self._put(UNFINISHED, marker, _JSON_LINES)

    def has(self, file: str, image: ImageRecord) -> bool:
        """Return whether the object was there at the beginning, in the size of the image."""
        return self._sizes.get(file) == image.size_bytes

    def put(self, file: str, content: Spooled, image: ImageRecord) -> None:
        """Put the object. Raises StorageUnavailableError."""
        self._put(file, content, image.content_type)

    def finish(self, manifest: IO[bytes]) -> None:
        """Put the manifest, then delete the marker. Raises StorageUnavailableError."""
        manifest.seek(0)
        with (whole := Spooled(pieces(manifest))).file:
            self._put(MANIFEST, whole, _JSON_LINES)
        self._bucket.delete_image(self._prefix + UNFINISHED)

    def _put(self, file: str, content: Spooled, media_type: str) -> None:
        key = self._prefix + file
        self._bucket.upload_image(content.file, key, media_type, sha256=content.sha256)


def _may_hold(names: Iterable[str]) -> bool:
    """Return whether a place with files and folders of these names may be an export's."""
    found = set(names)
    return found <= {MANIFEST, UNFINISHED, FOLDER} and (not found or bool(found - {FOLDER}))
