"""Redirected downloads: the service answers with a presigned URL, and S3 sends the bytes."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Literal
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from fastapi.testclient import TestClient

from config import Settings
from devstack.object_store import ObjectStore
from devstack.waiting import wait_until
from tests.support.metered_service import S3Meter, S3Request
from tests.support.pictures import jpeg, png

PICTURE = png(seed=1)
NAME = 'm\xfcll "\u6771\u4eac".jpg'  # not Latin-1, with quotes and another format's extension
PATH = "/images/m%C3%BCll%20%22%E6%9D%B1%E4%BA%AC%22.jpg"
Policy = Literal["off", "on_request", "default"]
Start = Callable[..., TestClient]

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture
def meter(object_store: ObjectStore) -> Iterator[S3Meter]:
    """Return a proxy that counts requests to S3."""
    with S3Meter(object_store) as meter:
        yield meter


@pytest.fixture
def start(settings: Settings, meter: S3Meter, object_store: ObjectStore) -> Iterator[Start]:
    """Return a function that runs the application with changed settings and one image.

    The application's own requests to S3 are counted; clients reach S3 directly.
    """
    from main import create_app  # noqa: PLC0415 - only tests of the application need it

    with ExitStack() as ends:

        def run(**changes: object) -> TestClient:
            endpoints = {
                "aws_endpoint_url_s3": meter.url,
                "s3_public_endpoint_url": object_store.endpoint_url,
            }
            app = create_app(settings.model_copy(update=endpoints | changes))
            client = ends.enter_context(TestClient(app, follow_redirects=False))
            upload = client.post("/images", files={"file": ("f.png", PICTURE)}, data={"name": NAME})
            assert upload.is_success, upload.text
            meter.taken()
            return client

        yield run


def fetch(answer: httpx.Response, method: str = "GET", **fields: str) -> httpx.Response:
    """Follow a redirect: request its Location from S3."""
    assert answer.status_code == 307
    headers = {field.replace("_", "-"): value for field, value in fields.items()}
    return httpx.request(method, answer.headers["location"], headers=headers, timeout=30)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("disposition", ["attachment", "inline"])
def test_redirect(start: Start, meter: S3Meter, method: str, disposition: str) -> None:
    """The response of S3 equals a direct download: body, type, disposition and caching."""
    client = start()
    direct = client.request(method, PATH, params={"disposition": disposition})
    meter.taken()
    answer = client.request(method, PATH, params={"redirect": True, "disposition": disposition})
    assert meter.taken() == []
    assert answer.content == b""
    assert answer.headers["cache-control"] == "no-store"
    given = fetch(answer, method)
    assert given.status_code == 200
    assert given.content == (PICTURE if method == "GET" else b"")
    for field in ("content-type", "content-disposition", "cache-control", "content-length"):
        assert given.headers[field] == direct.headers[field]
    assert given.headers["content-disposition"].startswith(disposition)


def test_range_of_a_redirect(start: Start) -> None:
    """A client that sends Range to the URL gets that part."""
    given = fetch(start().get(PATH, params={"redirect": True}), range="bytes=5-9")
    assert (given.status_code, given.content) == (206, PICTURE[5:10])


def test_url_is_for_one_method_and_object(start: Start) -> None:
    """The URL only allows reading that one object."""
    answer = start().get(PATH, params={"redirect": True})
    assert fetch(answer, "DELETE").status_code == 403
    assert fetch(answer, "PUT").status_code == 403
    url = urlsplit(answer.headers["location"])
    other = url._replace(path=url.path.replace(".png", ".gif")).geturl()
    assert httpx.get(other, timeout=30).status_code == 403
    assert fetch(answer).content == PICTURE


@pytest.mark.parametrize(("seconds", "expires"), [(None, "300"), (1, "1"), (604800, "604800")])
def test_life(start: Start, seconds: int | None, expires: str) -> None:
    """The URL is valid for REDIRECT_SECONDS, by default five minutes."""
    client = start(**({"redirect_seconds": seconds} if seconds else {}))
    answer = client.get(PATH, params={"redirect": True})
    query = parse_qs(urlsplit(answer.headers["location"]).query)
    assert query["X-Amz-Expires"] == [expires]
    if seconds == 1:
        wait_until(lambda: fetch(answer).status_code == 403, timeout=15, what="the URL to expire")


POLICIES: list[tuple[Policy, str | None, int]] = [
    ("off", None, 200),
    ("off", "false", 200),
    ("off", "true", 403),
    ("on_request", None, 200),
    ("on_request", "false", 200),
    ("on_request", "true", 307),
    ("default", None, 307),
    ("default", "false", 200),
    ("default", "true", 307),
]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(("policy", "redirect", "status"), POLICIES)
def test_policy(
    start: Start, meter: S3Meter, method: str, policy: Policy, redirect: str | None, status: int
) -> None:
    """REDIRECTS and ?redirect decide between 200 with the bytes, 307 and 403."""
    client = start(redirects=policy)
    answer = client.request(method, PATH, params={"redirect": redirect} if redirect else {})
    assert answer.status_code == status
    bytes_sent = (method, status) == ("GET", 200)
    assert meter.taken() == ([S3Request("GET", None)] if bytes_sent else [])
    if (method, status) == ("GET", 403):
        assert answer.json()["code"] == "redirect_not_allowed"
    if status == 307:
        assert fetch(answer, method).status_code == 200


def test_conditions_and_redirects(start: Start, meter: S3Meter) -> None:
    """A missing image is 404, and an unchanged one 304, before any redirect."""
    client = start(redirects="default")
    etag = client.head(PATH, params={"redirect": False}).headers["etag"]
    for method in ("GET", "HEAD"):
        assert client.request(method, "/images/nothing").status_code == 404
        for condition, status in (("If-None-Match", 304), ("If-Match", 307)):
            answer = client.request(method, PATH, headers={condition: etag})
            assert answer.status_code == status
    assert meter.taken() == []


def test_url_of_an_overwritten_image(start: Start) -> None:
    """The URL of an overwritten version stops working and never returns the new version."""
    client = start()
    old = client.get(PATH, params={"redirect": True})
    files = {"file": ("f.jpg", jpeg(seed=2))}
    client.post("/images", files=files, data={"name": NAME}).raise_for_status()
    new = client.get(PATH, params={"redirect": True})
    assert fetch(new).content == jpeg(seed=2)
    wait_until(lambda: fetch(old).status_code == 404, timeout=15, what="the old object to go")
