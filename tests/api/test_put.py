"""`PUT /images/{name}` stores its body as POST stores the file of a form."""

import gzip
import hashlib
import io
import itertools
import select
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest
from fastapi.testclient import TestClient

from config import ApiKey, Settings
from devstack.service_process import ServiceProcess
from devstack.waiting import wait_until
from tests.support import pictures
from tests.support.pictures import PICTURES, png
from tests.support.raw_http import ask, connect, read_answer
from tests.support.uploads import count, form, on_sqlite, problem, serving, upload
from web.digests import render_digest

KINDS = {"jpg": "image/jpeg", "png": "image/png", "gif": "image/gif", "webp": "image/webp"}
KEY = "key-of-the-backend"
KEYS = f"backend:write:{hashlib.sha256(KEY.encode()).hexdigest()}"
FORM = "multipart/form-data; boundary=aXb"
CONTINUE = b"HTTP/1.1 100 "


def test_like_a_form(client: TestClient, settings: Settings) -> None:
    """The responses are those of POST: 201 with Location, 200, and the same document."""
    first = client.put("/images/a%20b", content=png())
    assert (first.status_code, first.headers["Upload-Result"]) == (201, "created")
    assert first.headers["Location"] == first.json()["url"]
    assert first.json() == client.get("/images/a%20b/metadata").json()
    assert client.get("/images/a%20b").content == png()
    again = client.put("/images/a%20b", content=png())
    assert (again.status_code, again.headers["Upload-Result"]) == (200, "unchanged")
    assert again.json() == first.json()
    assert upload(client, png(), "f.png", name="a b").headers["Upload-Result"] == "unchanged"
    other = client.put("/images/a%20b", content=pictures.gif())
    assert (other.status_code, other.headers["Upload-Result"]) == (200, "replaced")
    assert "Location" not in other.headers
    assert other.headers["ETag"] == client.get("/images/a%20b").headers["ETag"]
    assert "Last-Modified" in other.headers
    assert count(settings, "images") == 1
    assert count(settings, "pending_objects") == 0


@on_sqlite
def test_curl(service: ServiceProcess, tmp_path: Path) -> None:
    """`curl -T` and `curl --data-binary` send a file as they do by default."""
    content = pictures.noise_png(3_000_000)
    (tmp_path / "photo.jpg").write_bytes(content)
    commands = {
        "photo": ["-T", "photo.jpg"],
        "photo.jpg": ["-T", "photo.jpg"],
        "binary": ["-X", "PUT", "--data-binary", "@photo.jpg"],
        "chunked": ["-T", "photo.jpg", "-H", "Transfer-Encoding: chunked"],
        "typed": ["-T", "photo.jpg", "-H", "Content-Type: image/png"],
    }
    for name, arguments in commands.items():
        # Below a path that ends in a slash, -T appends the name of the file.
        url = f"{service.base_url}/images/" + ("" if name == "photo.jpg" else name)
        command = ["curl", "--silent", "--show-error", "--fail-with-body", *arguments, url]
        run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert run.returncode == 0, run.stdout + run.stderr
        described = httpx.get(f"{service.base_url}/images/{name}/metadata").json()
        assert (described["name"], described["extension"]) == (name, "png")
        assert described["sha256"] == hashlib.sha256(content).hexdigest()


IGNORED = [
    *("", "application/octet-stream", "application/x-www-form-urlencoded", "text/plain"),
    *("binary/octet-stream", "multipart/mixed; boundary=x", "nonsense", "video/mp4", "imagery/png"),
]
AGREEING = {
    "jpg": ["image/jpeg", "IMAGE/JPEG ; q=1", "image/jpg", "image/pjpeg"],
    "png": ["image/png", "image/x-png", "image/apng"],
    "gif": ["image/gif", "image/gif;charset=utf-8"],
    "webp": ["image/webp"],
}


@on_sqlite
@pytest.mark.parametrize("inspection", ["full", "header"])
def test_kind(settings: Settings, inspection: str) -> None:
    """The bytes decide on the kind; an image type must agree, and other types are ignored."""
    with serving(settings, inspection=inspection) as client:
        for extension, kind in KINDS.items():
            content = PICTURES[extension]()
            for sent in [*IGNORED, *AGREEING[extension]]:
                answer = client.put("/images/a", content=content, headers={"Content-Type": sent})
                assert answer.is_success, (sent, answer.text)
                told = answer.json()
                assert (told["extension"], told["content_type"]) == (extension, kind)
        before = client.get("/images/a/metadata").json()
        for bytes_of, named in itertools.permutations(KINDS, 2):
            headers = {"Content-Type": KINDS[named]}
            refused = client.put("/images/a", content=PICTURES[bytes_of](), headers=headers)
            detail = problem(refused, 415, "unsupported_media_type")["detail"]
            assert KINDS[bytes_of] in detail
            assert KINDS[named] in detail
        assert client.get("/images/a/metadata").json() == before


@on_sqlite
def test_extension_of_the_bytes(client: TestClient) -> None:
    """The metadata has the extension of the bytes, whatever the name ends in."""
    for name in ("a.png", "a.exe", "b", "c."):
        stored = client.put(f"/images/{name}", content=pictures.jpeg()).json()
        assert (stored["name"], stored["extension"]) == (name, "jpg")
    shown = client.get("/images/a.png").headers["Content-Disposition"]
    assert 'filename="a.png.jpg"' in shown


@on_sqlite
def test_refused_bodies(settings: Settings) -> None:
    """A file that is incomplete, too large or of another kind is refused and changes nothing."""
    with serving(settings, allowed_extensions=("png",), max_upload_bytes=50_000) as client:
        assert client.put("/images/a", content=png()).status_code == 201
        for content in (b"", b"nothing", png()[:-1], b"<svg/>", pictures.jpeg()):
            problem(client.put("/images/a", content=content), 415, "not_an_image")
        for kind in ("image/jpeg", "image/svg+xml", "image/tiff", "image/*", "image/"):
            answer = client.put("/images/a", content=png(), headers={"Content-Type": kind})
            problem(answer, 415, "unsupported_media_type")
        problem(client.put("/images/a", content=bytes(50_001)), 413, "image_too_large")
        problem(client.put("/images/a", content=iter([bytes(50_001)])), 413, "image_too_large")
        assert client.get("/images/a").content == png()
    assert count(settings, "pending_objects") == 0


@on_sqlite
def test_refused_requests(client: TestClient, settings: Settings) -> None:
    """A form, a part of a file and a compressed file are refused; the detail says what to send."""
    body = form(('name="file"; filename="a.png"', png()))
    answer = client.put("/images/a", content=body, headers={"Content-Type": FORM})
    assert "POST" in problem(answer, 415, "unsupported_media_type")["detail"]
    for value in ("bytes 0-9/100", "bytes */100", ""):
        part = client.put("/images/a", content=png(), headers={"Content-Range": value})
        assert "Content-Range" in problem(part, 400, "invalid_request")["detail"]
    for coding in ("gzip", "identity, br", "nonsense"):
        headers = {"Content-Encoding": coding}
        packed = client.put("/images/a", content=gzip.compress(png()), headers=headers)
        problem(packed, 415, "content_coding_not_supported")
        assert packed.headers["Accept-Encoding"] == "identity"
    assert count(settings, "images") == 0
    plain = client.put("/images/a", content=png(), headers={"Content-Encoding": "Identity"})
    assert plain.status_code == 201


@on_sqlite
def test_names(client: TestClient, settings: Settings) -> None:
    """The name in the path is checked before the body is read."""
    refused = ["random", "%2E%2E", "%20", "a%00", "a%FF", "a%2Fb", "a%5Cb", quote("\u00e9" * 128)]
    for name in refused:
        problem(client.put(f"/images/{name}", content=b"nothing"), 400, "invalid_name")
    assert client.put("/images/", content=png()).status_code in {404, 405}
    assert client.put("/images/random/metadata", content=png()).status_code == 405
    assert count(settings, "images") == 0
    for spelling in ("e%CC%81", "%C3%A9", "%20%C3%A9"):
        assert client.put(f"/images/{spelling}", content=png()).json()["name"] == "\u00e9"
    assert count(settings, "images") == 1


@on_sqlite
@pytest.mark.parametrize("spooled", [False, True])
def test_large(service: ServiceProcess, *, spooled: bool) -> None:
    """A large body is stored to the byte, from memory or from disk."""
    content = pictures.noise_png(12_000_000 if spooled else 6_000_000)
    with httpx.Client(base_url=service.base_url, timeout=60) as client:
        digest = {"Repr-Digest": render_digest(hashlib.sha256(content).hexdigest())}
        assert client.put("/images/a", content=content, headers=digest).status_code == 201
        pieces = (content[i : i + 100_000] for i in range(0, len(content), 100_000))
        again = client.put("/images/a", content=pieces, headers=digest)
        assert (again.status_code, again.headers["Upload-Result"]) == (200, "unchanged")
        assert client.get("/images/a").content == content


# The head of a request decides before the client is told to send its body.


@pytest.fixture
def guarded(service_environment: dict[str, str]) -> Iterator[ServiceProcess]:
    """Run a service with a key that accepts PNG of a megabyte."""
    changes = {"API_KEYS": KEYS, "ALLOWED_EXTENSIONS": "png", "MAX_UPLOAD_BYTES": "1000000"}
    with ServiceProcess(service_environment | changes) as service:
        yield service


def head(path: str = "/images/a", *fields: str, length: int = 1000, key: str = KEY) -> bytes:
    """Return the head of a PUT that waits for `100 Continue`."""
    lines = [
        *(f"PUT {path} HTTP/1.1", "Host: x", "Expect: 100-continue", f"Content-Length: {length}"),
        *([f"Authorization: Bearer {key}"] if key else []),
        *fields,
    ]
    return "\r\n".join([*lines, "", ""]).encode()


EARLY = {
    "no key": (head(key=""), 401, "key_required"),
    "wrong key": (head(key="guessed"), 401, "invalid_key"),
    "name": (head("/images/random"), 400, "invalid_name"),
    "path": (head("/images/a%2Fb"), 400, "invalid_name"),
    "form": (head("/images/a", f"Content-Type: {FORM}"), 415, "unsupported_media_type"),
    "type": (head("/images/a", "Content-Type: image/tiff"), 415, "unsupported_media_type"),
    "kind": (head("/images/a", "Content-Type: image/gif"), 415, "unsupported_media_type"),
    "length": (head(length=1_000_001), 413, "image_too_large"),
    "coding": (head("/images/a", "Content-Encoding: gzip"), 415, "content_coding_not_supported"),
    "part": (head("/images/a", "Content-Range: bytes 0-9/10"), 400, "invalid_request"),
    "digest": (head("/images/a", "Content-Digest: sha-256=:AA==:"), 400, "digest_mismatch"),
}


@on_sqlite
def test_refused_before_the_body(guarded: ServiceProcess, settings: Settings) -> None:
    """Errors in the head are answered without `100 Continue`."""
    for what, (request, status, code) in EARLY.items():
        refused = ask(guarded.port, request)
        assert (refused.status, refused.code) == (status, code), what
    content = png()
    with connect(guarded.port, head("/images/a", length=len(content))) as waiting:
        assert waiting.recv(len(CONTINUE), socket.MSG_PEEK | socket.MSG_WAITALL) == CONTINUE
        waiting.sendall(content)
        assert read_answer(waiting).status == 201
    assert count(settings, "images") == 1


@on_sqlite
def test_other_site_before_the_body(service: ServiceProcess) -> None:
    """A page of another site is also refused without `100 Continue`."""
    refused = ask(service.port, head("/images/a", "Sec-Fetch-Site: cross-site", key=""))
    assert (refused.status, refused.code) == (403, "cross_site_request")


@on_sqlite
def test_slow_client(service_environment: dict[str, str], settings: Settings) -> None:
    """A client that stops sending its file, or takes too long for it, gets 408."""
    limits = {"CLIENT_IDLE_SECONDS": "0.5", "UPLOAD_TIMEOUT_SECONDS": "2"}
    beginning = b"PUT /images/a HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n"
    with ServiceProcess(service_environment | limits) as service:
        for sent in (b"", b"x" * 1000):
            with connect(service.port, beginning + sent) as silent:
                slow = read_answer(silent)
                assert (slow.status, slow.code) == (408, "upload_too_slow")
        with connect(service.port, beginning) as slow_but_steady:
            while not select.select([slow_but_steady], [], [], 0.1)[0]:  # before the idle limit
                slow_but_steady.sendall(b"x")
            assert read_answer(slow_but_steady).status == 408
        # Nothing is left of it.
        assert httpx.put(f"{service.base_url}/images/a", content=png()).status_code == 201
    assert count(settings, "images") == 1
    assert count(settings, "pending_objects") == 0


@on_sqlite
def test_disconnect(service: ServiceProcess, settings: Settings) -> None:
    """A client that disconnects in the middle of its file stores nothing."""
    content = pictures.noise_png(2_000_000)
    beginning = f"PUT /images/a HTTP/1.1\r\nHost: x\r\nContent-Length: {len(content)}\r\n\r\n"
    for sent in (0, 1000, len(content) - 1):
        with connect(service.port, beginning.encode() + content[:sent]):
            pass
    wait_until(lambda: service.log().count('"status":499') == 3, timeout=20, what="the lines")
    assert count(settings, "images") == count(settings, "pending_objects") == 0
    assert "Traceback" not in service.log()


@on_sqlite
def test_unfinished_bodies(service_environment: dict[str, str]) -> None:
    """Clients that are still sending their files do not count as waiting for a response."""
    with (
        ServiceProcess(service_environment | {"CONCURRENCY": "1"}) as service,
        ExitStack() as unfinished,
    ):
        for _ in range(40):  # more than may wait
            raw = unfinished.enter_context(connect(service.port, head(length=9, key="")))
            assert raw.recv(len(CONTINUE), socket.MSG_WAITALL) == CONTINUE
        assert httpx.get(f"{service.base_url}/images").status_code == 200


@on_sqlite
def test_keys(settings: Settings) -> None:
    """Writing by PUT needs a key with the scope `write`."""
    digest = hashlib.sha256(b"reader").hexdigest()
    keys = (ApiKey.parse(KEYS), ApiKey("web", "read", digest))
    with serving(settings, api_keys=keys) as client:
        for token, status in ((None, 401), ("reader", 403), ("guessed", 401), (KEY, 201)):
            headers = {"Authorization": f"Bearer {token}"} if token else {}
            answer = client.put("/images/a", content=png(), headers=headers)
            assert answer.status_code == status


def test_same_file_by_both(client: TestClient) -> None:
    """Any spelling of an extension that POST keeps is replaced by that of the bytes."""
    assert upload(client, pictures.jpeg(), "a.jpeg").json()["extension"] == "jpeg"
    assert client.put("/images/a", content=io.BytesIO(pictures.jpeg())).json()["extension"] == "jpg"


@on_sqlite
def test_stripped(settings: Settings) -> None:
    """With STRIP_METADATA, digests are those of the sent file, metadata that of the stored file."""
    content = pictures.encoded(pictures.picture(30, 20), "JPEG", comment=b"a secret place")
    sent = {"Content-Digest": render_digest(hashlib.sha256(content).hexdigest())}
    with serving(settings, strip_metadata="all") as client:
        stored = client.put("/images/a", content=content, headers=sent)
        kept = client.get(stored.json()["url"]).content
        assert (stored.status_code, b"secret" in content, b"secret" in kept) == (201, True, False)
        assert stored.json()["sha256"] == hashlib.sha256(kept).hexdigest()
        for again in (content, kept):
            answer = client.put("/images/a", content=again)
            assert answer.headers["Upload-Result"] == "unchanged"
