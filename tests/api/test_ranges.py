"""Range requests follow RFC 9110 section 14, and S3 is asked only for the needed bytes."""

from datetime import timedelta
from email.utils import format_datetime, parsedate_to_datetime
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.support.metered_service import Fields, MeteredService, S3Request
from tests.support.pictures import noise_png, png

if TYPE_CHECKING:
    pass

# The service reads up to 1 MB whole and streams what is larger.
PICTURES = {"whole": png(seed=1), "streamed": noise_png(1_500_000, seed=1)}
REFUSED = "416"
IGNORED = "200"

# By the value of Range: first and last byte of the response, IGNORED (200) or REFUSED (416).
RANGES: dict[str, str] = {
    "bytes=0-0": "0 0",
    "bytes=0-": "0 {last}",
    "bytes=1-": "1 {last}",
    "bytes=2-5": "2 5",
    "bytes=0-{last}": "0 {last}",
    "bytes=0-{size}": "0 {last}",
    "bytes=7-99999999999999999999999999": "7 {last}",
    "bytes={last}-": "{last} {last}",
    "bytes={last}-{last}": "{last} {last}",
    "bytes={last}-{size}": "{last} {last}",
    "bytes=007-008": "7 8",
    "bytes=-1": "{last} {last}",
    "bytes=-9": "{ninth} {last}",
    "bytes=-{size}": "0 {last}",
    "bytes=-{past}": "0 {last}",
    "bytes=-99999999999999999999999999": "0 {last}",
    "BYTES=3-4": "3 4",
    "bytes= 3-4": "3 4",
    "bytes=3-4,": "3 4",
    "bytes=,3-4": "3 4",
    "bytes={size}-": REFUSED,
    "bytes={size}-{size}": REFUSED,
    "bytes={past}-": REFUSED,
    "bytes=99999999999999999999999999-": REFUSED,
    "bytes=99999999999999999999999998-99999999999999999999999999": REFUSED,
    "bytes=-0": REFUSED,
    # Several ranges are ignored, as 14.2 allows.
    "bytes=0-1,3-4": IGNORED,
    "bytes=0-1, -1": IGNORED,
    "bytes=0-{last},0-{last}": IGNORED,
    "bytes={size}-,0-1": IGNORED,
    "": IGNORED,
    "bytes": IGNORED,
    "bytes=": IGNORED,
    "bytes=,": IGNORED,
    "bytes=-": IGNORED,
    "bytes=--1": IGNORED,
    "bytes=+1-2": IGNORED,
    "bytes=-+1": IGNORED,
    "bytes=1": IGNORED,
    "bytes=1-2-3": IGNORED,
    "bytes=4-3": IGNORED,
    "bytes={past}-{size}": IGNORED,
    "bytes=a-b": IGNORED,
    "bytes=0x1-0x2": IGNORED,
    "bytes=1.0-2.0": IGNORED,
    "bytes=\xb2-\xb3": IGNORED,
    "bytes 0-1": IGNORED,
    "bytes:0-1": IGNORED,
    "items=0-1": IGNORED,
    "0-1": IGNORED,
}


@pytest.fixture(autouse=True)
def _settled(metered: MeteredService) -> None:
    """Exclude the requests of earlier tests from the count."""
    metered.settle()


@pytest.fixture(scope="module")
def paths(metered: MeteredService) -> dict[str, str]:
    """Return the paths of images that no test changes."""
    return {kind: metered.image(picture) for kind, picture in PICTURES.items()}


@pytest.mark.parametrize("kind", PICTURES)
@pytest.mark.parametrize("asked", RANGES)
def test_range(metered: MeteredService, paths: dict[str, str], kind: str, asked: str) -> None:
    """GET answers 206, 200 or 416 by the table, and requests exactly these bytes from S3."""
    whole = PICTURES[kind]
    size = len(whole)
    positions = {"ninth": size - 9, "last": size - 1, "size": size, "past": size + 1}
    answered = RANGES[asked].format_map(positions)
    answer = metered.send("GET", paths[kind], [("Range", asked.format_map(positions))])
    if answered == REFUSED:
        assert answer.status_code == 416
        assert answer.headers["content-range"] == f"bytes */{size}"
        assert answer.json()["code"] == "range_not_satisfiable"
        assert metered.meter.taken() == []
        return
    if answered == IGNORED:
        assert_whole(answer, whole)
        assert metered.meter.taken() == [S3Request("GET", None)]
        return
    first, last = map(int, answered.split())
    assert_part(answer, whole, first, last)
    is_all = (first, last) == (0, size - 1)
    assert metered.meter.taken() == [S3Request("GET", None if is_all else f"bytes={first}-{last}")]


def assert_whole(answer: httpx.Response, whole: bytes) -> None:
    """Check a 200."""
    assert answer.status_code == 200
    assert answer.content == whole
    assert "content-range" not in answer.headers
    assert answer.headers["accept-ranges"] == "bytes"


def assert_part(answer: httpx.Response, whole: bytes, first: int, last: int) -> None:
    """Check a 206."""
    assert answer.status_code == 206
    assert answer.content == whole[first : last + 1]
    assert answer.headers["content-range"] == f"bytes {first}-{last}/{len(whole)}"
    assert int(answer.headers["content-length"]) == last - first + 1
    assert {"etag", "last-modified", "cache-control", "content-type"} <= answer.headers.keys()


def if_ranges(head: httpx.Response) -> dict[str, tuple[str, set[int]]]:
    """Return values of If-Range for the current version, each with the allowed statuses."""
    etag = head.headers["etag"]
    last = parsedate_to_datetime(head.headers["last-modified"])
    day = timedelta(days=1)
    return {
        "current tag": (etag, {206}),
        "weak": (f"W/{etag}", {200}),
        "other tag": ('"other"', {200}),
        "list": (f'"other", {etag}', {200}),
        "unquoted": (etag.strip('"'), {200}),
        "star": ("*", {200}),
        "empty": ("", {200}),
        # A date is weak: several versions may be stored within one second.
        "current date": (head.headers["last-modified"], {200}),
        "earlier": (format_datetime(last - day, usegmt=True), {200}),
        "later": (format_datetime(last + day, usegmt=True), {200}),
        "no date": ("yesterday", {200}),
    }


@pytest.mark.parametrize("kind", PICTURES)
def test_if_range(metered: MeteredService, paths: dict[str, str], kind: str) -> None:
    """If-Range answers 206 only for a strong validator of the current version."""
    path, whole = paths[kind], PICTURES[kind]
    for what, (value, statuses) in if_ranges(metered.send("HEAD", path)).items():
        answer = metered.send("GET", path, [("Range", "bytes=5-9"), ("If-Range", value)])
        assert answer.status_code in statuses, what
        assert answer.content in {whole, whole[5:10]}, what
        past_end = metered.send("GET", path, [("Range", "bytes=9999999-"), ("If-Range", value)])
        assert (past_end.status_code == 416) == (answer.status_code == 206), what
        assert_whole(metered.send("GET", path, [("If-Range", value)]), whole)


def second_version(metered: MeteredService, name: str, *, delete: bool) -> tuple[str, bytes]:
    """Store two versions within one second; return their common date and the current bytes."""
    dates: list[str] = []
    for seed in range(20):
        if delete:
            metered.send("DELETE", f"/images/{name}")
        metered.upload(name, png(seed=seed))
        dates.append(metered.send("HEAD", f"/images/{name}").headers["last-modified"])
        if dates[-2:] == [dates[-1], dates[-1]]:
            return dates[-1], png(seed=seed)
    pytest.fail("no two uploads in a row took less than a second")


@pytest.mark.parametrize("delete", [False, True])
def test_if_range_within_a_second(metered: MeteredService, *, delete: bool) -> None:
    """If-Range with a date never joins two versions that were stored in the same second."""
    name = metered.new_name()
    date, current = second_version(metered, name, delete=delete)
    range_of_old = [("Range", "bytes=100-"), ("If-Range", date)]
    assert_whole(metered.send("GET", f"/images/{name}", range_of_old), current)


def test_preconditions_first(metered: MeteredService, paths: dict[str, str]) -> None:
    """Preconditions are decided before ranges; HEAD and metadata ignore Range."""
    path = paths["whole"]
    etag = metered.send("HEAD", path).headers["etag"]
    for part in ("bytes=0-1", "bytes=9999999-"):
        asked: Fields = [("Range", part)]
        assert metered.send("GET", path, [*asked, ("If-None-Match", etag)]).status_code == 304
        assert metered.send("GET", path, [*asked, ("If-Match", '"other"')]).status_code == 412
        head = metered.send("HEAD", path, asked)
        assert (head.status_code, "content-range" in head.headers) == (200, False)
        assert int(head.headers["content-length"]) == len(PICTURES["whole"])
        assert metered.send("GET", f"{path}/metadata", asked).json()["extension"] == "png"
    assert metered.meter.taken() == []
