"""The first pass of an import names the files and finds those that cannot be imported."""

from datetime import UTC, datetime

import pytest

from config import Settings
from services.inspection import Inspector
from services.origin import Origin
from services.transfer.export_format import MANIFEST, UNFINISHED, Exported
from services.transfer.failures import TransferError
from services.transfer.naming import parse_naming
from services.transfer.planning import Plan, Planner, find_manifest
from services.transfer.sources import SourceFile

THEN = datetime(2020, 1, 2, tzinfo=UTC)


def files(*paths: str, size: int = 9) -> list[SourceFile]:
    """Return files of a source."""
    return [SourceFile(position, path, size, THEN) for position, path in enumerate(paths)]


@pytest.fixture
def planner() -> Planner:
    """Return a planner of a deployment that accepts small PNG and GIF files."""
    settings = Settings(
        db_url="sqlite:///images.db",
        aws_region="r",
        aws_s3_bucket="images",
        allowed_extensions=("png", "gif"),
        max_upload_bytes=1000,
    )
    return Planner(settings, Inspector(settings), keep_dates=True)


def outcomes(plan: Plan) -> dict[str, str]:
    """Return why files are left out."""
    return {result.source: f"{result.outcome}: {result.reason}" for result in plan.others}


def test_plan(planner: Planner) -> None:
    """Only importable files can clash, and a clash refuses all files of the name."""
    found = files(
        *("a.png", "x/a.gif", "a.jpg", "b.PNG", "c", "..png", ".hidden/d.png", "x/Thumbs.db"),
        *("..", "e/random.png", "f.apng"),
    )
    found.append(SourceFile(11, "g.png", 1001))
    found.append(SourceFile(12, "h.png", 1, reason="It is a link."))
    plan = planner.plan(found, parse_naming("stem"))
    assert [(image.name, image.extension) for image in plan.images] == [
        *(("b", "png"), ("c", None), ("f", "apng")),
    ]
    assert {image.origin.created_at for image in plan.images} == {THEN}
    reasons = outcomes(plan)
    assert reasons["a.png"] == "refused: 'x/a.gif' has the same name."
    assert reasons["x/a.gif"] == "refused: 'a.png' has the same name."
    assert reasons["g.png"] == "refused: An image may have at most 1000 bytes."
    assert reasons["h.png"] == "refused: It is a link."
    assert "extensions: png, gif" in reasons["a.jpg"]
    assert "reserved" in reasons["e/random.png"]
    skipped = {path for path, reason in reasons.items() if reason == "skipped: It is hidden."}
    assert skipped == {"..png", ".hidden/d.png", "x/Thumbs.db"}
    assert len(plan.images) + len(plan.others) == len(found)


def exported(file: str, name: str, extension: str = "png") -> Exported:
    """Return an entry of a manifest."""
    return Exported(file, name, "0" * 64, extension, Origin(THEN, THEN))


def test_plan_of_an_export(planner: Planner) -> None:
    """The manifest has the names; missing files are refused, unknown ones skipped."""
    found = files("x/" + MANIFEST, "x/" + UNFINISHED, "x/images/1.png", "x/images/2", "other.png")
    entries = [
        exported("images/1.png", "one"),
        exported("images/2", "two", extension="jpg"),
        exported("images/3.png", "three"),
        exported("../other.png", "four"),
        exported("images/1.png", "five"),
    ]
    plan = planner.plan_export(found, "x/" + MANIFEST, entries)
    (image,) = plan.images
    assert (image.file.path, image.name, image.sha256) == ("x/images/1.png", "one", "0" * 64)
    assert (image.origin.created_at, image.origin.last_updated_at) == (THEN, THEN)
    reasons = outcomes(plan)
    assert "extensions" in reasons["x/images/2"]
    assert {path for path, reason in reasons.items() if "lacks" in reason} == {
        *("x/images/3.png", "x/../other.png", "x/images/1.png"),
    }
    assert reasons["other.png"] == "skipped: The manifest does not name it."


def test_find_manifest() -> None:
    """An export has one manifest; files that look like an export must have it."""
    assert find_manifest(files("a.png", "images/b.png")) is None
    (manifest,) = files(f"x/{MANIFEST}")
    assert find_manifest([manifest]) == manifest
    with pytest.raises(TransferError, match="several exports"):
        find_manifest(files(f"x/{MANIFEST}", f"y/{MANIFEST}"))
    for path in (UNFINISHED, f"x/images/a-{'0' * 32}.png"):
        with pytest.raises(TransferError, match="without its"):
            find_manifest(files(path))
