"""The layout of an export: a folder of images, and a manifest.

The manifest has a first line, one line of JSON for each image, and a last line with their number,
which reveals a truncated manifest. It gets its name when everything else is stored; until then
UNFINISHED marks the export.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from repositories.images import ImageRecord
from services.origin import Origin
from services.transfer.failures import TransferError

MANIFEST = "image-api-manifest.jsonl"
UNFINISHED = f"{MANIFEST}.unfinished"
FOLDER = "images"
_FORMAT = {"format": "image-api-export", "version": 1}
DATES = ("created_at", "last_updated_at")
_PRIVATE = {"id", "s3_key"}  # meaningless in another deployment
_SLUG = re.compile("[^a-z0-9]+")
_SLUG_LENGTH, _DIGEST_LENGTH = 60, 32
_FILE = re.compile(rf"(.*/)?{FOLDER}/[a-z0-9-]+-[0-9a-f]{{{_DIGEST_LENGTH}}}\.[a-z0-9]+")


@dataclass(frozen=True, slots=True)
class Exported:
    """An image of an export; the path of its file is relative to the manifest."""

    file: str
    name: str
    sha256: str
    extension: str
    origin: Origin


def file_name(image: ImageRecord) -> str:
    """Return the path of an image's file in an export, which is different for each version.

    It is valid on every file system: lower-case letters, digits and hyphens, little more than 100
    characters, and no name that Windows reserves.
    """
    version = f"{image.name}\0{image.sha256}"
    digest = hashlib.sha256(version.encode()).hexdigest()[:_DIGEST_LENGTH]
    slug = _SLUG.sub("-", image.name.lower())[:_SLUG_LENGTH].strip("-") or "image"
    return f"{FOLDER}/{slug}-{digest}.{image.extension}"


def is_of_export(path: str) -> bool:
    """Return whether a path looks like that of a file in an export."""
    return path.rpartition("/")[2] == UNFINISHED or _FILE.fullmatch(path) is not None


def first_line() -> str:
    """Return the first line of a manifest."""
    return _line(_FORMAT)


def image_line(file: str, image: ImageRecord) -> str:
    """Return the line of an image, with all its metadata."""
    values = {key: value for key, value in image._asdict().items() if key not in _PRIVATE}
    for key in DATES:
        values[key] = values[key].astimezone(UTC).isoformat()
    return _line({"file": file} | values)


def last_line(images: int, left_out: int) -> str:
    """Return the last line of a manifest: how many images precede it, and how many are missing."""
    return _line({"images": images, "left_out": left_out})


def _line(document: dict[str, Any]) -> str:
    return json.dumps(document, ensure_ascii=False) + "\n"


def read_manifest(lines: Iterable[bytes]) -> Iterator[Exported]:
    """Yield the images of a manifest. Raises TransferError if it is damaged or truncated."""
    number, count, announced = 0, 0, None
    for number, line in enumerate(lines, 1):
        try:
            document = json.loads(line)
            if number == 1:
                _require_format(document)
            elif announced is not None:
                raise ValueError("follows the last one")
            elif "images" in document:
                announced = document["images"]
            else:
                yield _exported(document)
                count += 1
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as exc:
            raise TransferError(f"Line {number} of {MANIFEST} cannot be used: {exc}.") from exc
    if announced != count:
        raise TransferError(f"{MANIFEST} is cut short after line {number}.")


def _require_format(document: dict[str, Any]) -> None:
    if {key: document.get(key) for key in _FORMAT} != _FORMAT:
        raise ValueError("it is of another format, or of a newer version")


def _exported(document: dict[str, Any]) -> Exported:
    texts = {key: document[key] for key in ("file", "name", "sha256", "extension")}
    created_by = document.get("created_by")
    for key, text in texts.items():
        if not isinstance(text, str):
            raise TypeError(f"{key} is not a text")
    if not isinstance(created_by, str | None):
        raise TypeError("created_by is not a text")
    dates = {key: datetime.fromisoformat(document[key]) for key in DATES}
    for key, date in dates.items():
        if date.tzinfo is None:
            raise ValueError(f"{key} has no time zone")
    return Exported(**texts, origin=Origin(**dates, created_by=created_by))
