"""With STRIP_METADATA the service stores, describes and sends the file without its metadata."""

import hashlib
from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient

from config import Settings
from tests.support.containers import chunk, exif, segment
from tests.support.pictures import jpeg, noise_png
from tests.support.uploads import count, on_sqlite, problem, serving, upload
from web.digests import render_digest

pytestmark = on_sqlite
_SECRET = b"48.208174 N, 16.373819 E"
_PLAIN = jpeg(64, 48)
_TURN = segment(0xE1, b"Exif\0\0" + exif(6))
_PHOTO = _PLAIN[:2] + segment(0xE1, b"Exif\0\0" + exif(6) + _SECRET) + _PLAIN[2:] + _SECRET
_STRIPPED = _PLAIN[:2] + _TURN + _PLAIN[2:]


def digest(content: bytes) -> str:
    """Return the value of a digest field for `content`."""
    return render_digest(hashlib.sha256(content).hexdigest())


@pytest.fixture
def client(settings: Settings) -> Iterator[TestClient]:
    """Return a client of a service that strips."""
    with serving(settings, strip_metadata="all") as client:
        yield client


def test_stored_file(client: TestClient) -> None:
    """Metadata, ETag, digest and variants are those of the stripped file."""
    created = upload(client, _PHOTO, "photo.jpg")
    assert created.status_code == 201
    described = client.get("/images/photo/metadata").json()
    assert described == created.json()
    assert (described["width"], described["height"]) == (48, 64)
    assert described["size_bytes"] == len(_STRIPPED)
    assert described["sha256"] == hashlib.sha256(_STRIPPED).hexdigest()
    sent = client.get("/images/photo")
    assert sent.content == _STRIPPED
    assert sent.headers["Repr-Digest"] == digest(_STRIPPED)
    assert sent.headers["ETag"] == created.headers["ETag"]
    assert client.get("/images/photo/variants/160").status_code == 200


def test_same_file_again(client: TestClient) -> None:
    """The same upload, and the stripped file, change nothing."""
    upload(client, _PHOTO, "photo.jpg")
    for content in (_PHOTO, _STRIPPED, client.get("/images/photo").content):
        again = upload(client, content, "photo.jpg")
        assert (again.status_code, again.headers["Upload-Result"]) == (200, "unchanged")


@pytest.mark.parametrize("field", ["Content-Digest", "Repr-Digest"])
def test_announced_digest(client: TestClient, settings: Settings, field: str) -> None:
    """An announced digest is that of the file that the client sends, not of the stored one."""
    files = {"file": ("photo.jpg", _PHOTO)}
    refused = client.post("/images", files=files, headers={field: digest(_STRIPPED)})
    problem(refused, 400, "digest_mismatch")
    assert count(settings, "images") == 0
    assert client.post("/images", files=files, headers={field: digest(_PHOTO)}).status_code == 201


def test_size_limit(settings: Settings) -> None:
    """MAX_UPLOAD_BYTES counts the bytes that the client sends."""
    most = len(_PHOTO) - 1
    with serving(settings, strip_metadata="all", max_upload_bytes=most) as client:
        problem(upload(client, _PHOTO, "photo.jpg"), 413, "image_too_large")
        assert upload(client, _STRIPPED, "photo.jpg").status_code == 201


def test_large_file(client: TestClient) -> None:
    """A file that is spooled to disk is also stored without its metadata."""
    plain = noise_png(9 * 1024 * 1024)
    photo = plain[:33] + chunk(b"tEXt", b"Comment\0" + _SECRET) + plain[33:]
    assert upload(client, photo, "large.png").status_code == 201
    assert client.get("/images/large").content == plain


def test_default(settings: Settings) -> None:
    """By default the file is stored as it was sent."""
    with serving(settings) as client:
        upload(client, _PHOTO, "photo.jpg")
        assert client.get("/images/photo").content == _PHOTO
