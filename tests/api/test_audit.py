"""Who wrote what: in the metadata, and in the access log."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import text

from config import Settings
from devstack.databases import connection
from devstack.service_process import ServiceProcess
from devstack.waiting import wait_until
from tests.support.keys import api_key, bearer
from tests.support.pictures import jpeg, png
from tests.support.uploads import on_sqlite, serving, upload

KEYS = (
    api_key("backend:write", "all"),
    api_key("team:write:team-", "team"),
    api_key("reader:read", "reader"),
)


@pytest.fixture
def client(settings: Settings) -> Iterator[TestClient]:
    """Run the application with three keys and public reads."""
    with serving(settings, api_keys=KEYS, cache_control="public, max-age=60") as client:
        yield client


def put(client: TestClient, token: str, content: bytes, name: str) -> dict[str, Any]:
    """Upload an image with a key and return its metadata."""
    client.headers.update(bearer(token))
    answer = upload(client, content, name=name)
    del client.headers["Authorization"]
    assert answer.is_success, answer.text
    document: dict[str, Any] = answer.json()
    return document


def test_creator(client: TestClient) -> None:
    """The key of the first upload stays named through overwrites, until the name is new again."""
    assert put(client, "team", png(), "team-1")["created_by"] == "team"
    assert put(client, "all", png(), "team-1")["created_by"] == "team"
    assert put(client, "all", jpeg(), "team-1")["created_by"] == "team"
    path = "/images/team-1"
    assert client.delete(path, headers=bearer("all")).status_code == 200
    assert put(client, "all", jpeg(), "team-1")["created_by"] == "backend"
    described = client.get(f"{path}/metadata", headers=bearer("team"))
    assert described.json()["created_by"] == "backend"


def test_creator_of_an_older_row(client: TestClient, settings: Settings) -> None:
    """An image that an older release stored has no creator, even after an overwrite."""
    put(client, "all", png(), "a")
    with connection(settings.db_url) as db:
        db.execute(text("UPDATE images SET created_by = NULL"))
    assert client.get("/images/a/metadata", headers=bearer("reader")).json()["created_by"] is None
    assert put(client, "all", jpeg(), "a")["created_by"] is None


@on_sqlite
def test_who_is_told(client: TestClient) -> None:
    """Only keys that cover an image see its creator, and shared caches do not keep it."""
    put(client, "all", png(), "a")
    put(client, "team", png(), "team-1")
    for name, told in (("a", {"all", "reader"}), ("team-1", {"all", "reader", "team"})):
        path = f"/images/{name}/metadata"
        public = client.get(path)
        assert "created_by" not in public.json()
        for token in ("all", "reader", "team"):
            answer = client.get(path, headers=bearer(token))
            assert ("created_by" in answer.json()) == (token in told)
            assert (answer.headers["ETag"] == public.headers["ETag"]) == (token not in told)
            cached = "private, max-age=60" if token in told else "public, max-age=60"
            assert answer.headers["Cache-Control"] == cached
            known = {"If-None-Match": public.headers["ETag"]} | bearer(token)
            assert client.get(path, headers=known).status_code == (200 if token in told else 304)
            known = {"If-None-Match": answer.headers["ETag"]} | bearer(token)
            again = client.get(path, headers=known)
            assert (again.status_code, again.headers["Cache-Control"]) == (304, cached)
        assert {k: v for k, v in answer.json().items() if k != "created_by"} == public.json()
    anybody = client.get("/images")
    assert "created_by" not in anybody.text
    assert anybody.headers["Cache-Control"] == "public, max-age=60"
    pages = {token: client.get("/images", headers=bearer(token)) for token in ("all", "team")}
    assert [one.get("created_by") for one in pages["all"].json()["images"]] == ["backend", "team"]
    assert [one.get("created_by") for one in pages["team"].json()["images"]] == [None, "team"]
    assert {one.headers["Cache-Control"] for one in pages.values()} == {"private, max-age=60"}
    picked = client.get("/images/random/metadata", headers=bearer("all"))
    assert picked.json()["created_by"] in {"backend", "team"}


@on_sqlite
def test_without_keys(settings: Settings) -> None:
    """A service without keys shows no creator, whatever a request claims."""
    with serving(settings) as client:
        assert "created_by" not in put(client, "all", png(), "a")
        assert "created_by" not in client.get("/images/a/metadata", headers=bearer("all")).text


Write = Callable[[httpx.Client], httpx.Response]
WRITES: list[tuple[str, Write, int, str, str | None]] = [
    ("all", lambda c: upload(c, png(), name="cafe\u0301"), 201, "backend", "caf\xe9"),
    ("all", lambda c: upload(c, png(), "from-file.png"), 201, "backend", "from-file"),
    ("all", lambda c: upload(c, b"none", name="b"), 415, "backend", "b"),
    ("team", lambda c: upload(c, png(), name="b"), 403, "team", "b"),
    ("team", lambda c: c.delete("/images/caf\xe9"), 403, "team", "caf\xe9"),
    ("reader", lambda c: c.delete("/images/b"), 403, "reader", "b"),
    ("none", lambda c: c.delete("/images/b"), 401, "-", "b"),
    ("all", lambda c: c.delete("/images/none"), 404, "backend", "none"),
    ("all", lambda c: c.delete("/images/cafe\u0301"), 200, "backend", "caf\xe9"),
    ("all", lambda c: c.get("/images/from-file"), 200, "backend", None),
    ("reader", lambda c: upload(c, png(), name="b"), 403, "reader", None),  # not read
]


@on_sqlite
@pytest.mark.parametrize("prefix", ["", "/pictures"])
def test_log(service_environment: dict[str, str], prefix: str) -> None:
    """The line of every write names the image and the key, even if the write is refused."""
    environment = service_environment | {
        "API_KEYS": ",".join(key.line for key in KEYS),
        "LOG_FORMAT": "json",
    }
    with (
        ServiceProcess(environment, args=["--root-path", prefix] if prefix else []) as service,
        httpx.Client(base_url=service.base_url) as client,
    ):
        for token, write, status, _, _ in WRITES:
            client.headers.update(bearer(token))
            assert write(client).status_code == status
        service.terminate()
        lines = [json.loads(line) for line in service.log().splitlines()]
    lines = [line for line in lines if str(line.get("route")).startswith("/images")]
    # The line of a deletion comes when its object is deleted, which may be after the next line.
    found = [(line["status"], line["key"], str(line["image"])) for line in lines]
    assert sorted(found) == sorted((status, key, str(image)) for *_, status, key, image in WRITES)


@on_sqlite
def test_text_log(service_environment: dict[str, str]) -> None:
    """In the text format no name of an image looks like another field."""
    with ServiceProcess(service_environment | {"LOG_FORMAT": "text"}) as service:
        httpx.delete(f"{service.base_url}/images/a key=admin")
        httpx.delete(f"{service.base_url}/images/b")
        wait_until(lambda: "image=b" in service.log(), timeout=10, what="the lines")
        assert 'image="a key=admin"' in service.log()
