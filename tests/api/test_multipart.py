"""A malformed upload form gets a 4xx response and stores nothing."""

import gzip
import select
import socket
from collections.abc import Iterator
from contextlib import suppress
from http.client import HTTPResponse
from pathlib import Path

import httpx
import pytest
from fastapi.testclient import TestClient

from config import Settings
from devstack.service_process import ServiceProcess
from devstack.waiting import wait_until
from tests.support import pictures
from tests.support.uploads import BOUNDARY, FORM, count, form, on_sqlite, problem, upload

pytestmark = on_sqlite
PICTURE = ('name="file"; filename="a.png"', pictures.png())
NAME = ('name="name"', b"b")
WHOLE = form(PICTURE, NAME)
OTHER = ('name="x"', b"y")
EXTENDED = 'name="file"; filename*=%s'

MALFORMED = {
    "empty": b"",
    "no form": pictures.png(),
    "no part": form(),
    "no file": form(NAME),
    "no file but others": form(NAME, OTHER),
    "file in another field": form(('name="picture"; filename="a.png"', pictures.png())),
    "file without a file name": form(('name="file"', pictures.png())),
    "two files": form(PICTURE, PICTURE),
    "a second file in another field": form(PICTURE, ('name="more"; filename="b.png"', b"x")),
    "two names": form(PICTURE, NAME, NAME),
    "1000 fields": form(*[OTHER] * 1000, PICTURE),
    "1000 names": form(PICTURE, *[NAME] * 1000),
    "an endless name": form(PICTURE, ('name="name"', b"x" * 100_000)),
    "a long header": form((f'name="file"; filename="{"a" * 100_000}.png"', pictures.png())),
    "name not UTF-8": form(PICTURE, ('name="name"', b"\xff\xfe")),
    "name in Latin-1": form(PICTURE, ('name="name"', "caf\u00e9".encode("latin-1"))),
    "name with a surrogate": form(PICTURE, ('name="name"', b"\xed\xa0\x80")),
    "file name not UTF-8": form((b'name="file"; filename="\xff.png"', pictures.png())),
    "no closing boundary": form(PICTURE, NAME, end=b""),
    "half a closing boundary": form(PICTURE, NAME, end=f"--{BOUNDARY}".encode()),
    "no disposition": WHOLE.replace(b"Content-Disposition", b"X-Disposition"),
    "another boundary": WHOLE.replace(BOUNDARY.encode(), b"other"),
    "cut in the file": WHOLE[: len(WHOLE) // 2],
    "cut in the headers": WHOLE[:40],
    "bare line feeds": form(PICTURE, NAME).replace(b"\r\n", b"\n"),
    "extended file name not UTF-8": form((EXTENDED % "utf-8''%FF.png", PICTURE[1])),
    "extended file name with a surrogate": form((EXTENDED % "utf-8''%ED%A0%80.png", PICTURE[1])),
    "extended file name without a charset": form((EXTENDED % "a.png", PICTURE[1])),
    "extended file name with one quote": form((EXTENDED % "utf-8'a.png", PICTURE[1])),
    "extended file name in UTF-16": form((EXTENDED % "utf-16''a.png", PICTURE[1])),
    "extended file name half escaped": form((EXTENDED % "utf-8''a%2.png", PICTURE[1])),
    "extended file name with a space": form((EXTENDED % "utf-8''a b.png", PICTURE[1])),
    "extended file name unescaped": form((EXTENDED % "utf-8''\u00fc.png", PICTURE[1])),
    "malformed beside a file name": form((f"{PICTURE[0]}; filename*=nonsense", PICTURE[1])),
    "extended file name in another field": form(PICTURE, ("name=x; filename*=utf-8''b.png", b"x")),
    "extended file name of the name": form(PICTURE, ("name=name; filename*=utf-8''b", b"b")),
    "NUL in a header": WHOLE.replace(b"form-data;", b"form-data;\0", 1),
}


def test_malformed(client: TestClient, settings: Settings) -> None:
    """A malformed body is 400, and the next upload succeeds."""
    for what, body in MALFORMED.items():
        answer = client.post("/images", content=body, headers=FORM)
        assert answer.status_code == 400, (what, answer.text)
        problem(answer, 400, "invalid_multipart")
    assert count(settings, "images") == count(settings, "pending_objects") == 0
    assert client.post("/images", content=WHOLE, headers=FORM).json()["name"] == "b"


def test_cut_anywhere(client: TestClient, settings: Settings) -> None:
    """A truncated body is 400, wherever it is cut."""
    body = form(NAME, PICTURE).removesuffix(b"\r\n")
    for length in [*range(150), *range(150, len(body), 97), *range(len(body) - 60, len(body))]:
        answer = client.post("/images", content=body[:length], headers=FORM)
        assert answer.status_code == 400, (body[:length], answer.text)
    assert count(settings, "images") == 0


def test_content_type(client: TestClient) -> None:
    """Another content type, and a missing, empty or too long boundary, are 400."""
    kinds = ["multipart/form-data", "multipart/form-data; boundary=", "image/png", "nonsense", ""]
    long = f"multipart/form-data; boundary={'x' * 201}"
    mixed = f"multipart/mixed; boundary={BOUNDARY}"
    for kind in [*kinds, long, mixed, "application/x-www-form-urlencoded"]:
        answer = client.post("/images", content=WHOLE, headers={"Content-Type": kind})
        problem(answer, 400, "invalid_multipart")
    problem(client.post("/images"), 400, "invalid_multipart")


def test_content_encoding(client: TestClient) -> None:
    """A compressed form is 415 with `Accept-Encoding: identity`."""
    for coding in ("gzip", "GZIP", "identity, br", "nonsense"):
        headers = FORM | {"Content-Encoding": coding}
        answer = client.post("/images", content=gzip.compress(WHOLE), headers=headers)
        problem(answer, 415, "content_coding_not_supported")
        assert answer.headers["Accept-Encoding"] == "identity"
    plain = client.post("/images", content=WHOLE, headers=FORM | {"Content-Encoding": "Identity"})
    assert plain.status_code == 201


def test_many_parameters(client: TestClient) -> None:
    """A Content-Type with too many parameters is 400."""
    kind = f"{FORM['Content-Type']}{'; a=b' * 1000}"
    answer = client.post("/images", content=WHOLE, headers={"Content-Type": kind})
    problem(answer, 400, "invalid_multipart")


def test_well_formed(client: TestClient) -> None:
    """Forms that RFC 2046 and RFC 7578 allow are accepted: any order, quoting, epilogue."""
    named = ("filename=a.png; name=file", pictures.png())
    utf8 = ('name="file"; filename="\u30a2\U0001f600.png"', pictures.png())
    bodies = {
        form(NAME, OTHER, PICTURE): "b",
        form(named): "a",
        form(utf8): "\u30a2\U0001f600",
        form(('name="file"; filename="a \\"b\\".png"', pictures.png())): 'a "b"',
        form(PICTURE, end=f"--{BOUNDARY}--".encode()): "a",
        form(PICTURE) + b"epilogue\r\n": "a",
        form(PICTURE, ('name="name"', "\u00e9".encode())): "\u00e9",
    }
    for body, name in bodies.items():
        answer = client.post("/images", content=body, headers=FORM)
        assert answer.is_success, answer.text
        assert answer.json()["name"] == name
        assert client.get(f"/images/{name}").content == pictures.png()


NAMES = {
    EXTENDED % "utf-8''m%C3%BCll.png": "m\u00fcll",
    EXTENDED % "UTF-8'de'm%c3%bcll.png": "m\u00fcll",
    EXTENDED % "\"utf-8''m%C3%BCll.png\"": "m\u00fcll",
    EXTENDED % "iso-8859-1'en'%A3%20rates.png": "\u00a3 rates",
    EXTENDED % "utf-8''it's%20(1)!*~.png": "it's (1)!*~",
    "name=file; filename=a.png; filename*=utf-8''b.png": "b",
    "name=file; filename*=utf-8''b.png; filename=a.png": "b",
    "name=file; filename=\"=?utf-8?B?bcO8bGwucG5n?=\"; filename*=utf-8''m%C3%BCll.png": "m\u00fcll",
    "name=\"file\"; FileName*=utf-8''b.png": "b",
    "name=\"file\" ; filename* = utf-8''b.png ": "b",
    "name=\"file\";filename*=utf-8''b%3B%22c.png": 'b;"c',
    'name="file"; filename="a; filename*=utf-8\'\'b.png"': "a; filename*=utf-8''b",
    'name="file"; filename="a\\"; filename*=utf-8\'\'b.png"': "a\"; filename*=utf-8''b",
    'name="file"; filename="a.png"; other*=nonsense': "a",
    "name*=utf-8''file; filename*=utf-8''b.png": "b",
}


def test_extended_file_names(client: TestClient) -> None:
    """`filename*` (RFC 8187) names the file, alone or instead of `filename`."""
    for parameters, name in NAMES.items():
        body = form((parameters, PICTURE[1]))
        answer = client.post("/images", content=body, headers=FORM)
        assert answer.status_code in {200, 201}, (parameters, answer.text)
        assert (answer.json()["name"], answer.json()["extension"]) == (name, "png"), parameters


def test_extended_extension(client: TestClient) -> None:
    """The extension of `filename*` decides, and its path cannot evade the rules of names."""
    refused = {
        "a.svg": "extension_not_allowed",
        "..%2Fa.png": "invalid_name",
        "": "invalid_name",
    }
    for value, code in refused.items():
        body = form((f"name=file; filename=a.png; filename*=utf-8''{value}", PICTURE[1]))
        problem(client.post("/images", content=body, headers=FORM), 400, code)


@pytest.fixture
def strict(service_environment: dict[str, str]) -> Iterator[ServiceProcess]:
    """Run a service that waits half a second for a piece of a body and two for all of it."""
    limits = {"CLIENT_IDLE_SECONDS": "0.5", "UPLOAD_TIMEOUT_SECONDS": "2"}
    with ServiceProcess({**service_environment, **limits}) as service:
        yield service


def begin(service: ServiceProcess, length: int = len(WHOLE)) -> socket.socket:
    """Send the head of an upload."""
    raw = socket.create_connection(("127.0.0.1", service.port), timeout=30)
    head = f"POST /images HTTP/1.1\r\nHost: x\r\nContent-Type: {FORM['Content-Type']}\r\n"
    raw.sendall(f"{head}Content-Length: {length}\r\n\r\n".encode())
    return raw


def answer_of(raw: socket.socket) -> httpx.Response:
    """Read one response."""
    answer = HTTPResponse(raw)
    answer.begin()
    return httpx.Response(answer.status, headers=answer.getheaders(), content=answer.read())


def assert_still_serves(service: ServiceProcess, settings: Settings) -> None:
    """Check that nothing was stored, no traceback was logged, and an upload succeeds."""
    assert count(settings, "images") == count(settings, "pending_objects") == 0
    with httpx.Client(base_url=service.base_url) as client:
        assert upload(client, pictures.png()).status_code == 201
    assert "Traceback" not in service.log()


def test_slow_client(strict: ServiceProcess, settings: Settings) -> None:
    """A client that stops sending its form, or takes too long for it, gets 408."""
    for sent in (0, 60, len(WHOLE) // 2, len(WHOLE) - 1):
        with begin(strict) as raw:
            raw.sendall(WHOLE[:sent])
            problem(answer_of(raw), 408, "upload_too_slow")
    with begin(strict, 10**6) as raw:
        raw.sendall(form(PICTURE, end=b"")[:-2])
        while not select.select([raw], [], [], 0.1)[0]:  # sends before the idle limit
            raw.sendall(b"x")
        problem(answer_of(raw), 408, "upload_too_slow")
    assert_still_serves(strict, settings)


def test_disconnect(service: ServiceProcess, settings: Settings) -> None:
    """A client that disconnects in the middle of its body leaves no object, row or file."""
    body = form(('name="file"; filename="a.png"', pictures.noise_png(20_000_000)))
    for length in (0, 60, len(body) // 2, len(body) - 1):
        with begin(service, len(body)) as raw:
            raw.sendall(body[:length])
            if length > 60:  # more than is kept in memory
                wait_until(lambda: spools(service), timeout=10, what="the body to be spooled")
        wait_until(lambda: not spools(service), timeout=10, what="the spooled file to go")
    assert_still_serves(service, settings)


def spools(service: ServiceProcess) -> bool:
    """Return whether the service has a temporary file open."""
    found = False
    for link in Path(f"/proc/{service.pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed after the directory was listed
            found |= str(link.readlink()).endswith("(deleted)")
    return found
