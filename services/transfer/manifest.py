"""The manifest of an export: JSON Lines with one image on each, between a first and a last line.

The last line says how many images there are, so that a manifest that was cut short is noticed. The
manifest gets its name when everything else is stored; until then UNFINISHED marks the export.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from repositories.images import ImageRecord
from services.transfer.failures import TransferError

MANIFEST = "image-api-manifest.jsonl"
UNFINISHED = f"{MANIFEST}.unfinished"
FOLDER = "images"
_FORMAT = {"format": "image-api-export", "version": 1}
# Private to a deployment
_LEFT_OUT = {"id", "s3_key"}
_DATES = {"created_at", "last_updated_at"}
_SLUG = re.compile("[^a-z0-9]+")
_SLUG_LENGTH, _DIGEST_LENGTH = 60, 32
_FILE = re.compile(rf"(.*/)?{FOLDER}/[a-z0-9-]+-[0-9a-f]{{{_DIGEST_LENGTH}}}\.[a-z0-9]+")


@dataclass(frozen=True, slots=True)
class Exported:
    """An image of an export: its file, relative to the manifest, and what its row said."""

    file: str
    values: dict[str, Any]

    @property
    def name(self) -> str:
        """The name of the image."""
        return str(self.values["name"])

    @property
    def sha256(self) -> str:
        """The SHA-256 of the file, hexadecimal."""
        return str(self.values["sha256"])


def file_name(image: ImageRecord) -> str:
    """Return the path of the file of an image in an export, which no other version of it has.

    It has lower-case letters, digits and hyphens only, no stem that Windows reserves, and little
    more than 100 characters, so every file system keeps it.
    """
    version = f"{image.name}\0{image.sha256}"
    digest = hashlib.sha256(version.encode()).hexdigest()[:_DIGEST_LENGTH]
    slug = _SLUG.sub("-", image.name.lower())[:_SLUG_LENGTH].strip("-") or "image"
    return f"{FOLDER}/{slug}-{digest}.{image.extension}"


def is_of_export(path: str) -> bool:
    """Return whether the path of a file looks like one of an export."""
    return path.rpartition("/")[2] == UNFINISHED or _FILE.fullmatch(path) is not None


def first_line() -> str:
    """Return the first line of a manifest."""
    return _line(_FORMAT)


def image_line(file: str, image: ImageRecord) -> str:
    """Return the line of an image, with all its metadata."""
    values = {key: value for key, value in image._asdict().items() if key not in _LEFT_OUT}
    for key in _DATES:
        values[key] = values[key].astimezone(UTC).isoformat()
    return _line({"file": file} | values)


def last_line(images: int, left_out: int) -> str:
    """Return the last line of a manifest, after so many images; others could not be exported."""
    return _line({"images": images, "left_out": left_out})


def _line(document: dict[str, Any]) -> str:
    return json.dumps(document, ensure_ascii=False) + "\n"


def read_manifest(lines: Iterable[bytes]) -> Iterator[Exported]:
    """Yield the images of a manifest. Raises TransferError if it is not whole and valid."""
    number, found, announced = 0, 0, None
    for number, line in enumerate(lines, 1):
        try:
            document = json.loads(line)
            if number == 1:
                _require_format(document)
            elif announced is not None:
                raise ValueError("follows the last one")
            elif "images" in document:
                announced = int(document["images"])
            else:
                yield _exported(document)
                found += 1
        except (ValueError, KeyError, TypeError, AttributeError) as exc:
            raise TransferError(f"Line {number} of {MANIFEST} cannot be used: {exc}.") from exc
    if announced != found:
        raise TransferError(f"{MANIFEST} is cut short after line {number}.")


def _require_format(document: dict[str, Any]) -> None:
    if {key: document.get(key) for key in _FORMAT} != _FORMAT:
        raise ValueError("it is of another format, or of a newer version")


def _exported(document: dict[str, Any]) -> Exported:
    values = {key: value for key, value in document.items() if key != "file"}
    file = document["file"]
    for key in ("name", "sha256", "extension"):
        if not isinstance(values[key], str):
            raise TypeError(f"{key} is not a text")
    for key in _DATES:
        values[key] = datetime.fromisoformat(values[key])
        if values[key].tzinfo is None:
            raise ValueError(f"{key} has no time zone")
    if not isinstance(file, str):
        raise TypeError("file is not a text")
    if not isinstance(values.get("created_by"), str | None):
        raise TypeError("created_by is not a text")
    return Exported(file, values)
