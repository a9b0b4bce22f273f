"""Manifests are written and read, and their file names suit every file system."""

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone

import pytest

from repositories.images import ImageRecord
from services.origin import Origin
from services.transfer.export_format import (
    UNFINISHED,
    Exported,
    file_name,
    first_line,
    image_line,
    is_of_export,
    last_line,
    read_manifest,
)
from services.transfer.failures import TransferError

THEN = datetime(2020, 1, 2, 3, 4, 5, 678901, UTC)


def record(name: str, sha256: str = "a" * 64, extension: str = "png") -> ImageRecord:
    """Return an image."""
    media_type = "image/png"
    return ImageRecord(1, name, 9, extension, media_type, sha256, 3, 4, "key", THEN, THEN)


@pytest.mark.parametrize(
    "name", ["a", "CON", "con.txt", "ä" * 100, "?", " - ", "a/b", "A" * 255, "😀", "..."]
)
def test_file_names(name: str) -> None:
    """A file name is short, has only safe characters, and is recognised as part of an export."""
    file = file_name(record(name))
    assert re.fullmatch(r"images/[a-z0-9](-?[a-z0-9])*-[0-9a-f]{32}\.png", file)
    assert len(file) <= 110
    assert is_of_export(file)
    assert is_of_export(f"folder/{file}")


def test_distinct_files() -> None:
    """Similar names and versions of one image have different files."""
    files = {file_name(record(name)) for name in ("a b", "a-b", "A b", "a  b")}
    files |= {file_name(record("a b", "b" * 64)), file_name(record("a b", extension="gif"))}
    assert len(files) == 6


def test_files_of_others() -> None:
    """Ordinary files do not look like an export; its marker does."""
    assert is_of_export(f"folder/{UNFINISHED}")
    for path in ("images/a.png", f"photos/a-{'0' * 32}.png", f"images/a-{'0' * 31}.png"):
        assert not is_of_export(path)


def test_round_trip() -> None:
    """Reading returns what was written, with dates in any time zone to the microsecond."""
    east = THEN.astimezone(timezone(timedelta(hours=5, minutes=30)))
    image = record("Größe\n")
    lines = [first_line(), image_line("images/a.png", image._replace(created_at=east))]
    lines.append(last_line(1, 2))
    (entry,) = read_manifest(line.encode() for line in lines)
    assert entry == Exported("images/a.png", image.name, image.sha256, "png", Origin(THEN, THEN))
    written = json.loads(lines[1])
    assert set(written) == {*ImageRecord._fields, "file"} - {"id", "s3_key"}
    assert written["width"] == 3
    read, inspected = {"file", "name", "sha256", "extension"}, {"size_bytes", "width", "height"}
    # An import would lose a column that it neither reads nor finds in the file itself.
    assert set(written) == read | inspected | {"content_type", *Origin._fields}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda line: line.replace(b'"sha256": "', b'"sha256": 1, "x": "'), "sha256 is not a text"),
        (lambda line: line.replace(b'"file": "', b'"file": 1, "x": "'), "file is not a text"),
        (lambda line: line.replace(b"+00:00", b""), "no time zone"),
        (lambda line: line[:-3], "Line 2"),
        (lambda _: b"[]\n", "Line 2"),
        (lambda _: b"", "Line 2"),
        (lambda _: b"[" * 100_000 + b"\n", "Line 2"),
        (lambda _: b'{"images": Infinity}\n', "Line 3"),
    ],
    ids=["sum", "file", "zone", "cut", "list", "empty", "deep", "infinite"],
)
def test_damaged_line(change: Callable[[bytes], bytes], reason: str) -> None:
    """The error names the unusable line."""
    line = change(image_line("images/a.png", record("a")).encode())
    lines = [first_line().encode(), line, last_line(1, 0).encode()]
    with pytest.raises(TransferError, match=reason):
        list(read_manifest(lines))


@pytest.mark.parametrize("number", [0, 1, 2])
def test_cut_short(number: int) -> None:
    """A manifest without its last line is refused."""
    lines = [first_line().encode(), image_line("images/a.png", record("a")).encode()]
    with pytest.raises(TransferError, match=f"cut short after line {number}"):
        list(read_manifest(lines[:number]))
