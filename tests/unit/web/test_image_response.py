"""`plan_download` decides a response from the request and the image's record alone."""

from datetime import UTC, datetime
from typing import Any

import pytest
from starlette.datastructures import Headers

from errors import PreconditionFailedError, RangeNotSatisfiableError, RedirectNotAllowedError
from tests.support.keys import api_key
from tests.support.records import IMAGE, SETTINGS
from web.addresses import Address
from web.image_response import DownloadRequest, plan_download
from web.signed_links import SignedLink

ETAG = f'"{IMAGE.sha256}"'
KEYS = (api_key("backend:write", "all"),)
HERE = Address("/images/a", "current")

WHOLE, NOTHING = (0, 999), None
PLANS: list[tuple[str, dict[str, str], dict[str, Any], int, tuple[int, int] | None]] = [
    ("GET", {}, {}, 200, WHOLE),
    ("HEAD", {}, {}, 200, NOTHING),
    ("GET", {"If-None-Match": ETAG}, {}, 304, NOTHING),
    ("HEAD", {"If-None-Match": ETAG}, {}, 304, NOTHING),
    ("GET", {"If-None-Match": '"other"'}, {}, 200, WHOLE),
    ("GET", {"If-Match": ETAG}, {}, 200, WHOLE),
    ("GET", {"Range": "bytes=0-0"}, {}, 206, (0, 0)),
    ("GET", {"Range": "bytes=-10"}, {}, 206, (990, 999)),
    ("GET", {"Range": "bytes=10-"}, {}, 206, (10, 999)),
    ("GET", {"Range": "bytes=0-1,5-6"}, {}, 200, WHOLE),
    ("GET", {"Range": "bytes=0-9", "If-Range": ETAG}, {}, 206, (0, 9)),
    ("GET", {"Range": "bytes=0-9", "If-Range": '"other"'}, {}, 200, WHOLE),
    ("HEAD", {"Range": "bytes=0-9"}, {}, 200, NOTHING),
    ("GET", {}, {"redirect": True}, 307, NOTHING),
    ("GET", {"If-None-Match": ETAG}, {"redirect": True}, 304, NOTHING),
    ("HEAD", {}, {"redirect": True}, 307, NOTHING),
    ("GET", {}, {"redirect": False, "redirects": "default"}, 200, WHOLE),
    ("GET", {}, {"redirects": "default"}, 307, NOTHING),
    ("GET", {}, {"redirects": "off"}, 200, WHOLE),
    ("GET", {}, {"version": "current"}, 200, WHOLE),
    ("GET", {"If-None-Match": ETAG}, {"version": "current"}, 304, NOTHING),
    ("GET", {}, {"version": "other"}, 302, NOTHING),
    ("HEAD", {}, {"version": "other"}, 302, NOTHING),
    ("GET", {"If-None-Match": ETAG}, {"version": "other"}, 302, NOTHING),
    ("GET", {"If-Match": '"other"'}, {"version": "other"}, 302, NOTHING),
    ("GET", {"Range": "bytes=1000-"}, {"version": "other"}, 302, NOTHING),
    ("GET", {}, {"version": "other", "redirect": True, "redirects": "off"}, 302, NOTHING),
]


@pytest.mark.parametrize(("method", "headers", "options", "status", "span"), PLANS)
def test_plan(
    method: str,
    headers: dict[str, str],
    options: dict[str, Any],
    status: int,
    span: tuple[int, int] | None,
) -> None:
    """Each combination of version, conditions, range and redirect has its status and bytes."""
    version = options.get("version", "")
    asked = DownloadRequest(
        method, Headers(headers), redirect=options.get("redirect"), version=version
    )
    settings = SETTINGS.model_copy(update={"redirects": options.get("redirects", "on_request")})
    plan = plan_download(asked, IMAGE, HERE, settings)
    assert (plan.status, plan.span) == (status, span)
    assert ("Content-Range" in plan.headers) == (status == 206)
    assert ("Content-Disposition" in plan.headers) == (status not in {302, 304})
    assert ("immutable" in plan.headers["Cache-Control"]) == (version == "current")


@pytest.mark.parametrize(
    ("headers", "redirects", "error"),
    [
        ({"If-Match": '"other"'}, "on_request", PreconditionFailedError),
        ({"If-Unmodified-Since": "Thu, 01 Jan 2026 00:00:00 GMT"}, "off", PreconditionFailedError),
        ({"Range": "bytes=1000-"}, "off", RangeNotSatisfiableError),
        ({}, "off", RedirectNotAllowedError),
    ],
)
def test_refused(headers: dict[str, str], redirects: str, error: type[Exception]) -> None:
    """A failed precondition, range or redirect raises before anything is opened."""
    redirect = True if error is RedirectNotAllowedError else None
    asked = DownloadRequest("GET", Headers(headers), redirect=redirect)
    with pytest.raises(error):
        plan_download(asked, IMAGE, HERE, SETTINGS.model_copy(update={"redirects": redirects}))


def test_last_second() -> None:
    """In the last second of a link caches keep nothing, and nothing is redirected to S3."""
    settings = SETTINGS.model_copy(update={"cache_control": "public, max-age=60, s-maxage=70"})
    moment = int(1000 * datetime.now(UTC).timestamp()) + 999
    for version, kept in (("", "private, max-age=0"), ("current", "private, max-age=0, immutable")):
        link = SignedLink("read", "a", moment)
        asked = DownloadRequest("GET", Headers(), redirect=True, version=version, link=link)
        private = settings.model_copy(update={"api_keys": KEYS, "public_reads": False})
        plan = plan_download(asked, IMAGE, HERE, private)
        assert (plan.status, plan.headers["Cache-Control"]) == (200, kept)
    private = private.model_copy(update={"cache_control": "must-revalidate"})
    plan = plan_download(DownloadRequest("GET", Headers(), link=link), IMAGE, HERE, private)
    assert plan.headers["Cache-Control"] == "private, must-revalidate, max-age=0"
