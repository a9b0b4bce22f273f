"""GET /images/{name} returns the stored bytes with correct header fields."""

import re
from collections.abc import Callable
from hashlib import sha256
from urllib.parse import unquote

import httpx
import pytest
from fastapi.testclient import TestClient

from config import Settings
from devstack.service_process import ServiceProcess
from services.image_store import ImageRecord, ImageStore
from tests.support import pictures
from tests.support.uploads import count, on_sqlite, problem, upload

FIELD = re.compile(
    r"(attachment|inline); filename=\"([ !#-\[\]-~]*)\"; "  # quoted-string without escapes
    r"filename\*=UTF-8''((?:[A-Za-z0-9!#$&+.^_`|~-]|%[0-9A-F]{2})+)"  # RFC 8187 section 3.2
)
FILE_NAMES = {  # by the image's name
    "cat": "cat.png",
    "cat.png": "cat.png",
    "cat.PNG": "cat.PNG",
    "cat.jpg": "cat.jpg.png",
    'say "cheese"': 'say "cheese".png',
    '"; filename=evil.exe; x="': '"; filename=evil.exe; x=".png',
    "100% %0d%0a": "100% %0d%0a.png",
    "\u00e9t\u00e9": "\u00e9t\u00e9.png",
    "\u732b \U0001f63a": "\u732b \U0001f63a.png",
    "a;b,c='d'": "a;b,c='d'.png",
    "\u202egnp.exe": "\u202egnp.exe.png",
    "..\u2044etc": "..\u2044etc.png",
}


@on_sqlite
def test_headers(client: TestClient) -> None:
    """A download has Content-Type, Content-Length, Content-Disposition and `nosniff`."""
    for extension, make in pictures.PICTURES.items():
        upload(client, make(), f"{extension}.{extension}").raise_for_status()
        answer = client.get(f"/images/{extension}")
        assert (answer.status_code, answer.content) == (200, make())
        kind = "jpeg" if extension == "jpg" else extension
        expected = {
            "Content-Type": f"image/{kind}",
            "Content-Length": str(len(make())),
            "X-Content-Type-Options": "nosniff",
            "Content-Disposition": f'attachment; filename="{extension}.{extension}"; '
            f"filename*=UTF-8''{extension}.{extension}",
        }
        assert expected.items() <= {name: answer.headers.get(name) for name in expected}.items()


@on_sqlite
def test_disposition(service: ServiceProcess) -> None:
    """For any name the field is well-formed ASCII and contains the whole name (RFC 6266)."""
    with httpx.Client(base_url=service.base_url) as client:
        for name, file_name in FILE_NAMES.items():
            location = upload(client, pictures.png(), name=name).headers["Location"]
            for disposition in ("attachment", "inline"):
                answer = client.get(location, params={"disposition": disposition})
                field = FIELD.fullmatch(answer.headers["Content-Disposition"])
                assert field, answer.headers["Content-Disposition"]
                kind, plain, extended = field.groups()
                assert (kind, unquote(extended, errors="strict")) == (disposition, file_name)
                expected = re.sub(r'[^ -~]|["\\%]', "_", file_name)
                assert plain == expected


@on_sqlite
def test_unknown_disposition(client: TestClient) -> None:
    """An unknown disposition is 422."""
    upload(client, pictures.png()).raise_for_status()
    problem(client.get("/images/a?disposition=form-data"), 422, "invalid_parameter")


@on_sqlite
def test_head(client: TestClient) -> None:
    """HEAD returns the status and header fields of GET without a body."""
    upload(client, pictures.noise_png(2_000_000)).raise_for_status()
    paths = ["/images/a", "/images/a/metadata", "/images/random/metadata", "/images"]
    for path in [*paths, "/health/live", "/health/ready", "/images/none", "/openapi.json"]:
        got, head = client.get(path), client.head(path)
        assert (head.status_code, head.content) == (got.status_code, b"")
        for answer in (got, head):
            answer.headers.pop("X-Request-ID")
        assert head.headers == got.headers


@on_sqlite
def test_head_of_docs(client: TestClient) -> None:
    """HEAD /docs answers like GET."""
    assert client.head("/docs").status_code == client.get("/docs").status_code == 200


@on_sqlite
@pytest.mark.parametrize("size", [1024**2 - 60_000, 1024**2 + 60_000, 4_000_000])
def test_large(client: TestClient, size: int) -> None:
    """Images below and above the size at which streaming begins are returned whole."""
    content = pictures.noise_png(size)
    upload(client, content).raise_for_status()
    answer = client.get("/images/a")
    assert answer.content == content
    assert answer.headers["Content-Length"] == str(len(content))


@on_sqlite
def test_extension_stays(client: TestClient, settings: Settings) -> None:
    """An image overwritten with another format is served with the new type and extension."""
    upload(client, pictures.png(), "a.png").raise_for_status()
    upload(client, pictures.gif(), "a.gif").raise_for_status()
    answer = client.get("/images/a")
    assert answer.headers["Content-Type"] == "image/gif"
    assert 'filename="a.gif"' in answer.headers["Content-Disposition"]
    assert count(settings, "images") == 1


def after_describing(monkeypatch: pytest.MonkeyPatch, then: Callable[[], object]) -> None:
    """Call `then` once, after the next read of an image's row and before that of its object."""
    describe, waiting = ImageStore.describe, [then]

    def describe_and_wait(store: ImageStore, name: str) -> ImageRecord:
        image = describe(store, name)
        if waiting:
            waiting.pop()()
        return image

    monkeypatch.setattr(ImageStore, "describe", describe_and_wait)


@on_sqlite
def test_overwritten_meanwhile(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """A download returns the new image if an overwrite happens after the row was read."""
    upload(client, pictures.png(), "a.png").raise_for_status()
    content = pictures.gif()
    after_describing(monkeypatch, lambda: upload(client, content, "a.gif").raise_for_status())
    answer = client.get("/images/a")
    assert (answer.status_code, answer.content) == (200, content)
    assert answer.headers["Content-Type"] == "image/gif"
    assert answer.headers["ETag"] == f'"{sha256(content).hexdigest()}"'


@on_sqlite
def test_deleted_meanwhile(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """A download is 404 if a delete happens after the row was read."""
    upload(client, pictures.png(), "a.png").raise_for_status()
    after_describing(monkeypatch, lambda: client.delete("/images/a").raise_for_status())
    problem(client.get("/images/a"), 404, "image_not_found")


@on_sqlite
def test_missing(client: TestClient) -> None:
    """A name without an image is 404, even if another name is similar."""
    upload(client, pictures.png(), "a.png").raise_for_status()
    for name in ("A", "a.png", "b", "a\u200b", "a%", "a*"):
        problem(client.get(f"/images/{name}"), 404, "image_not_found")
