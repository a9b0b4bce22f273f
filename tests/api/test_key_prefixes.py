"""A key with a prefix covers names that begin with it, and learns nothing about others."""

import base64
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

import httpx
import pytest
from fastapi.testclient import TestClient

from config import Settings
from tests.support.keys import api_key, bearer
from tests.support.pictures import png
from tests.support.uploads import FORM, count, form, on_sqlite, problem, serving, upload

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

PREFIX = "caf\xe9-"
KEYS = (
    api_key("backend:write", "all"),
    api_key(f"cafe:write:{PREFIX}", "writer"),
    api_key(f"waiter:read:{PREFIX}", "reader"),
)
OWN, OTHERS = [f"{PREFIX}1", f"{PREFIX}2", f"{PREFIX}3"], ["cafe-1", "caf\xe8-1", "z"]
COVERED = [
    *OWN,
    "cafe\u0301-1",  # not yet NFC
    " caf\xe9-1\u00a0",  # white space around a name is not part of it
    f"{PREFIX}none",
    PREFIX,
]
FOREIGN = [*OTHERS, "cafe-none", "caf\xe9", "CAF\xc9-1", "xcaf\xe9-1", "caf\xe9\u0301-1"]
OPERATIONS = [
    *(("GET", path) for path in ("", "/metadata", "/variants/160")),
    *(("HEAD", path) for path in ("", "/metadata", "/variants/160")),
    ("DELETE", ""),
    ("PUT", ""),
    ("PATCH", ""),
]


@pytest.fixture(params=[False, "images", True], ids=["private", "images", "public"])
def client(settings: Settings, request: pytest.FixtureRequest) -> Iterator[TestClient]:
    """Run the application with three keys and six images."""
    with serving(settings, api_keys=KEYS, public_reads=request.param) as client:
        for name in OWN + OTHERS:
            client.headers.update(bearer("all"))
            upload(client, png(), name=name).raise_for_status()
        del client.headers["Authorization"]
        yield client


private = pytest.mark.parametrize("client", [False], indirect=True)
closed_lists = pytest.mark.parametrize("client", [False, "images"], indirect=True)
pytestmark = on_sqlite


def shown(answer: httpx.Response) -> tuple[int, Any]:
    """Return the parts of a response that do not identify the request."""
    body = answer.json() if answer.content else {}
    return answer.status_code, {
        k: v for k, v in body.items() if k not in {"instance", "request_id"}
    }


def listed(client: TestClient, token: str, **parameters: str) -> list[str]:
    """Follow the links through a whole listing and return the names."""
    names: list[str] = []
    url = "/images?" + urlencode({"limit": "2"} | parameters)
    while url:
        answer = client.get(url, headers=bearer(token))
        assert answer.status_code == 200, answer.text
        names += [image["name"] for image in answer.json()["images"]]
        url = answer.links.get("next", {}).get("url", "")
    return names


@private
@pytest.mark.parametrize("token", ["writer", "reader"])
def test_foreign_names(client: TestClient, token: str, settings: Settings) -> None:
    """Every request for a foreign name is refused alike, whether or not the image exists."""
    for method, path in OPERATIONS:
        told = set()
        for name in FOREIGN:
            url = f"/images/{quote(name, safe='')}{path}"
            answer = client.request(method, url, headers=bearer(token))
            assert answer.status_code == 403, (method, url)
            assert method == "HEAD" or problem(answer, 403, "insufficient_scope")
            told.add(repr(shown(answer)))
        assert len(told) == 1, told
    assert count(settings, "images") == len(OWN + OTHERS)


@private
def test_covered_names(client: TestClient) -> None:
    """A name is covered in whichever spelling it is requested."""
    for name in COVERED:
        expected = 404 if name.endswith(("none", "-")) else 200
        url = f"/images/{quote(name, safe='')}"
        for path in ("", "/metadata", "/variants/160"):
            for token in ("reader", "writer"):
                assert client.get(url + path, headers=bearer(token)).status_code == expected, url
    for name in COVERED:
        url = f"/images/{quote(name, safe='')}"
        problem(client.delete(url, headers=bearer("reader")), 403, "insufficient_scope")
        assert client.delete(url, headers=bearer("writer")).status_code in {200, 404}, url
    assert listed(client, "all") == sorted(OTHERS)


@pytest.mark.parametrize("client", ["images", True], indirect=True)
def test_public_names(client: TestClient) -> None:
    """What is public stays public for a key with a prefix, but its writes stay refused."""
    for name in OTHERS:
        url = f"/images/{quote(name)}"
        for path in ("", "/metadata", "/variants/160"):
            for token in ("reader", "writer", None):
                answer = client.get(url + path, headers=bearer(token))
                assert answer.status_code == 200, (url, path, token)
                assert "created_by" not in answer.text[:2000]
        problem(client.delete(url, headers=bearer("writer")), 403, "insufficient_scope")


def test_uploads(client: TestClient, settings: Settings, s3: "S3Client") -> None:
    """An upload is refused by its name before anything is stored, wherever the name comes from."""
    client.headers.update(bearer("writer"))
    before = count(settings, "images"), len(objects(settings, s3))
    for name in FOREIGN:
        problem(upload(client, png(2, 2), name=name), 403, "insufficient_scope")
        problem(upload(client, png(2, 2), f"{name}.png"), 403, "insufficient_scope")
    fields = [('name="file"; filename="z.png"', png()), ('name="name"', b"z")]
    for parts in (fields, fields[::-1]):
        answer = client.post("/images", content=form(*parts), headers=FORM)
        problem(answer, 403, "insufficient_scope")
    assert (count(settings, "images"), len(objects(settings, s3))) == before
    assert count(settings, "pending_objects") == 0
    assert upload(client, png(3, 3), name="cafe\u0301-1").status_code == 200
    assert upload(client, png(3, 3), f"{PREFIX}new.png").status_code == 201
    problem(upload(client, png(), name="a/b"), 400, "invalid_name")


def objects(settings: Settings, s3: "S3Client") -> list[Any]:
    """Return the objects of the bucket."""
    return s3.list_objects_v2(Bucket=settings.aws_s3_bucket).get("Contents", [])


@closed_lists
@pytest.mark.parametrize("order", ["name", "-name", "last_updated_at", "-last_updated_at"])
def test_listing(client: TestClient, order: str) -> None:
    """A page is the key's own unless a longer prefix narrows it; foreign ones are refused."""
    in_order = OWN[::-1] if order.startswith("-") else OWN
    for token in ("reader", "writer"):
        for prefix in ("", "c", "caf\xe9", "cafe\u0301", PREFIX):
            assert listed(client, token, order=order, prefix=prefix) == in_order
        assert listed(client, token, order=order, prefix=f"{PREFIX}2") == OWN[1:2]
        assert listed(client, token, order=order, prefix=f"{PREFIX}none") == []
        for prefix in (*OTHERS, "cafe", "caf\xe9-\u0301", "d"):
            parameters = {"order": order, "prefix": prefix}
            answer = client.get("/images", params=parameters, headers=bearer(token))
            if prefix.startswith(PREFIX):
                assert answer.json()["images"] == []
            else:
                problem(answer, 403, "insufficient_scope")
    assert sorted(listed(client, "all", order=order)) == sorted(OWN + OTHERS)


@closed_lists
def test_forged_cursors(client: TestClient) -> None:
    """No cursor leads out of the prefix: neither a forged one nor that of another key."""
    for prefix in (PREFIX, "", "c", "z"):
        for value in ("", "a", OTHERS[0], "zz"):
            for order, id_ in (("name", -(2**63)), ("-name", 2**63 - 1)):
                document = json.dumps([order, prefix, value, id_])
                cursor = base64.urlsafe_b64encode(document.encode()).decode().rstrip("=")
                answer = client.get(
                    "/images", params={"cursor": cursor, "order": order}, headers=bearer("reader")
                )
                if prefix != PREFIX:
                    problem(answer, 400, "invalid_cursor")
                else:
                    assert {image["name"] for image in answer.json()["images"]} <= set(OWN)
    foreign = client.get("/images?limit=1", headers=bearer("all")).json()["next_cursor"]
    answer = client.get("/images", params={"cursor": foreign}, headers=bearer("reader"))
    problem(answer, 400, "invalid_cursor")


def test_without_names(client: TestClient) -> None:
    """`random` is refused unless it is public, and `/metrics` always needs a key without prefix."""
    public = client.app_state["resources"].settings.public_reads is True
    for token in ("reader", "writer"):
        answer = client.get("/images/random/metadata", headers=bearer(token))
        assert public or problem(answer, 403, "insufficient_scope")
        assert answer.status_code == (200 if public else 403)
        answer = client.get("/metrics", headers=bearer(token))
        assert PREFIX in problem(answer, 403, "insufficient_scope")["detail"]
        assert client.get("/nowhere", headers=bearer(token)).status_code == 404
        assert client.get("/health/live", headers=bearer(token)).status_code == 200
    assert client.get("/metrics", headers=bearer("all")).status_code == 200


@pytest.mark.parametrize("client", ["images"], indirect=True)
def test_public_images(client: TestClient) -> None:
    """PUBLIC_READS=images opens images by their names, but nothing that finds them."""
    for path in ("/images/z", "/images/z/metadata", "/images/z/variants/160"):
        answer = client.get(path)
        assert answer.status_code == 200
        assert "private" not in answer.headers["Cache-Control"]
        assert client.head(path).status_code == 200
        assert client.get(path.replace("z", "none", 1)).status_code == 404
    for path in ("/images", "/images?prefix=z", "/images/random/metadata", "/metrics", "/nowhere"):
        problem(client.get(path), 401, "key_required")
        assert client.head(path).status_code == 401
    problem(client.delete("/images/z"), 401, "key_required")
    problem(upload(client, png()), 401, "key_required")
    answer = client.get("/images", headers=bearer("all"))
    assert answer.headers["Cache-Control"].startswith("private")
    assert client.get("/images/random/metadata", headers=bearer("all")).status_code == 200
