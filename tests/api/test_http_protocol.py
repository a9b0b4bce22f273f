"""HTTP/1.1 connections of the real server: malformed requests, size limits and time limits."""

import http.client
import json
import logging
import resource
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

import httpx
import pytest
from fastapi.testclient import TestClient

from devstack.object_store import ObjectStore
from devstack.service_process import ServiceProcess
from devstack.waiting import wait_until
from tests.support.metered_service import MeteredService, metered_service
from tests.support.pictures import noise_png, png
from tests.support.raw_http import LIVE, ask, connect, has_ended, read_answer
from tests.support.uploads import BOUNDARY, form, on_sqlite, upload

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

MEGABYTE = 1024 * 1024
LIVE_LINE = b"GET /health/live HTTP/1.1\r\n"
HOST = b"Host: x\r\n"
POST = b"POST /images HTTP/1.1\r\nHost: x\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
KIND = f"Content-Type: multipart/form-data; boundary={BOUNDARY}\r\n".encode()
BODY = b"3\r\nabc\r\n0\r\n\r\n"


@pytest.fixture(scope="module")
def service(
    object_store: ObjectStore, s3: "S3Client", new_bucket: Callable[[], str]
) -> Iterator[MeteredService]:
    """Return a running service with a short idle limit."""
    with metered_service(object_store, s3, new_bucket(), CLIENT_IDLE_SECONDS="2") as service:
        yield service


@pytest.fixture(scope="module")
def port(service: MeteredService) -> int:
    """Return the service's port."""
    return service.process.port


NO_REQUESTS = {
    "no Host": LIVE_LINE + b"\r\n",
    "two Hosts": LIVE_LINE + HOST + HOST + b"\r\n",
    "two Hosts in HTTP/1.0": b"GET /health/live HTTP/1.0\r\n" + HOST + HOST + b"\r\n",
    "no host's name": LIVE_LINE + b"Host: x y\r\n\r\n",
    "a host's name with a path": LIVE_LINE + b"Host: x/y\r\n\r\n",
    "HTTP/2": b"GET /health/live HTTP/2.0\r\n" + HOST + b"\r\n",
    "HTTP/1.9": b"GET /health/live HTTP/1.9\r\n" + HOST + b"\r\n",
    "HTTP/0.9": b"GET /health/live\r\n\r\n",
    "gzip as transfer coding": POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n",
    "gzip, then chunks": POST + b"Transfer-Encoding: gzip\r\n" + CHUNKED + b"\r\n" + BODY,
    "chunks, then gzip": POST + CHUNKED + b"Transfer-Encoding: gzip\r\n\r\n" + BODY,
    "chunks on a folded line": POST + b"Transfer-Encoding:\r\n chunked\r\n\r\n" + BODY,
    "another transfer coding": POST + b"Transfer-Encoding: identity\r\n\r\n",
    "two transfer codings": POST + b"Transfer-Encoding: chunked\r\n" * 2 + b"\r\n",
    "chunks in HTTP/1.0": POST.replace(b"1.1", b"1.0") + b"Transfer-Encoding: chunked\r\n\r\n",
    "chunks and a length": POST + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n",
    "a length and chunks": POST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
    "two lengths": POST + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\n",
    "no length": POST + b"Content-Length: +3\r\n\r\n",
    "a length of another script": POST + b"Content-Length: \xd9\xa3\r\n\r\n",
    "no chunk": POST + CHUNKED + b"\r\nxyz\r\n",
    "a signed chunk": POST + CHUNKED + b"\r\n+3\r\nabc\r\n0\r\n\r\n",
    "a chunk that is longer than it says": POST + CHUNKED + b"\r\n3\r\nabcd\r\n0\r\n\r\n",
    "a line that ends in LF": LIVE_LINE + HOST + b"A: b\nC: d\r\n\r\n",
    "lines that end in LF": b"GET /health/live HTTP/1.1\nHost: x\n\n",
    "a CR within a line": LIVE_LINE + HOST + b"A: b\rc\r\n\r\n",
    "a NUL": LIVE_LINE + HOST + b"A: b\0c\r\n\r\n",
    "no path": b"GET health/live HTTP/1.1\r\n" + HOST + b"\r\n",
    "a fragment": b"GET /health/live#a HTTP/1.1\r\n" + HOST + b"\r\n",
    "another scheme": b"GET ftp://x/health/live HTTP/1.1\r\n" + HOST + b"\r\n",
    "two spaces": b"GET  /health/live HTTP/1.1\r\n" + HOST + b"\r\n",
    "a path in UTF-8": "GET /images/\u00e4 HTTP/1.1\r\n".encode() + HOST + b"\r\n",
    "a folded line": LIVE_LINE + HOST + b"A: b\r\n c\r\n\r\n",
    "a space before the colon": LIVE_LINE + b"Host : x\r\n\r\n",
    "CONNECT": b"CONNECT x:443 HTTP/1.1\r\n" + HOST + b"\r\n",
    "empty lines": b"\r\n" * 1000,
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
}


@pytest.mark.parametrize("what", NO_REQUESTS)
def test_no_request(port: int, what: str) -> None:
    """A request that RFC 9112 forbids, or that is ambiguous, is 400 and closes the connection."""
    answer = ask(port, NO_REQUESTS[what])
    assert (answer.status, answer.code) == (400, "invalid_request")
    assert answer.headers["connection"] == "close"
    assert answer.headers["x-request-id"] == json.loads(answer.body)["request_id"]


TOO_LARGE = {
    "a header": (LIVE_LINE + b"If-Match: " + b'"a",' * 10_000, 431),
    "a header of 20 MB": (LIVE_LINE + b"If-None-Match: " + b'"a",' * 5_000_000, 431),
    "a name": (LIVE_LINE + b"x" * 40_000, 431),
    "together": (LIVE_LINE + b"".join(b"a%d: %s\r\n" % (i, b"x" * 400) for i in range(99)), 431),
    "header lines": (LIVE_LINE + HOST + b"a: b\r\n" * 101, 431),
    "a path": (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\n" + HOST, 414),
    "a path of 20 MB": (b"GET /" + b"a" * 20_000_000, 414),
}


@pytest.mark.parametrize("end", [b"\r\n\r\n", b""], ids=["ended", "endless"])
@pytest.mark.parametrize("what", TOO_LARGE)
def test_too_large(service: MeteredService, port: int, what: str, end: bytes) -> None:
    """A head that is too large is 431 or 414, without taking memory."""
    head, status = TOO_LARGE[what]
    if what == "header lines" and not end:
        pytest.skip("this head is refused only when it ends")
    before = service.process.rss(peak=True)
    answer = ask(port, head.removesuffix(b"\r\n") + end)
    assert answer.status == status
    assert answer.code == ("uri_too_long" if status == 414 else "headers_too_large")
    assert service.process.rss(peak=True) < before + 8 * MEGABYTE


def test_largest_head(port: int) -> None:
    """A head just within the limits is accepted, as is one that arrives byte by byte."""
    lines = [b"a%d: %s\r\n" % (i, b"x" * 300) for i in range(99)]
    assert ask(port, LIVE_LINE + HOST + b"".join(lines) + b"\r\n").status == 200
    with connect(port) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for i in range(len(LIVE)):
            connection.send(LIVE[i : i + 1])
        assert read_answer(connection).status == 200


@pytest.mark.parametrize("target", [b"http://y/health/live", b"HTTP://y:80/health/live?a=b"])
def test_absolute_form(port: int, target: bytes) -> None:
    """A server must take the form of a target that clients send to proxies (RFC 9112 3.2.2)."""
    assert ask(port, b"GET " + target + b" HTTP/1.1\r\n" + HOST + b"\r\n").status == 200
    assert ask(port, b"GET http://y HTTP/1.1\r\n" + HOST + b"\r\n").status == 200


def test_empty_line(port: int) -> None:
    """An empty line before a request is ignored (RFC 9112 section 2.2), also in two pieces."""
    with connect(port, b"\r") as connection:
        for data in (b"\n" + LIVE, b"\r\n" + LIVE):
            connection.sendall(data)
            assert read_answer(connection).status == 200


def read_answers(connection: socket.socket, number: int) -> Iterator[tuple[int, bytes]]:
    """Yield status and body of so many responses, which may arrive together."""
    with connection.makefile("rb") as stream:
        for _ in range(number):
            status, length = int(stream.readline().split()[1]), 0
            while (line := stream.readline()) != b"\r\n":
                name, _, value = line.partition(b": ")
                length = int(value) if name.lower() == b"content-length" else length
            yield status, stream.read(length)


def test_pipelining(port: int) -> None:
    """Pipelined requests, with and without bodies, are answered in order."""
    bodies = [b"Content-Length: 3\r\n\r\nabc", b"\r\n"]
    asked = [
        b"GET /images/n%d/metadata HTTP/1.1\r\n" % i + HOST + bodies[i % 2] for i in range(3000)
    ]
    with connect(port) as connection:
        connection.sendall(b"".join(asked))
        for i, (status, body) in enumerate(read_answers(connection, len(asked))):
            assert status == 404
            assert json.loads(body)["instance"] == f"/images/n{i}/metadata"


@pytest.mark.parametrize("big", [False, True])
def test_pipelining_without_end(service: MeteredService, port: int, *, big: bool) -> None:
    """A client that pipelines requests without reading responses takes no memory."""
    request = LIVE
    if big:
        path = service.image(noise_png(20_000_000))
        request = b"GET " + path.encode() + b" HTTP/1.1\r\n" + HOST + b"\r\n"
    before = service.process.rss()
    with connect(port, request) as connection:
        connection.settimeout(1)
        with pytest.raises((TimeoutError, ConnectionError)):  # the service stops reading
            connection.sendall(LIVE * 500_000)
        assert ask(port, LIVE).status == 200
        assert service.process.rss() < before + 40 * MEGABYTE


def test_behind_chunks(port: int) -> None:
    """A request that comes together with the last chunk of a body is answered after it."""
    with connect(port, POST + CHUNKED + b"\r\n" + BODY + LIVE) as connection:
        assert [status for status, _ in read_answers(connection, 2)] == [400, 200]  # no form


def test_behind_the_last_request(port: int) -> None:
    """Bytes after `Connection: close` get no response, and do not prevent that of the request."""
    last = LIVE_LINE + HOST + b"Connection: close\r\n\r\n"
    for more in (b"\r\n", LIVE, b"\x00" * 1000):
        with connect(port, last + more) as connection:
            assert read_answer(connection).status == 200
            assert has_ended(connection, 5)


def test_trailers(service: MeteredService, port: int) -> None:
    """Trailers are read; endless ones are refused, and take no memory."""
    few = BODY.removesuffix(b"\r\n") + b"A: b\r\n" * 10 + b"\r\n"
    with connect(port, POST + CHUNKED + b"\r\n" + few + LIVE) as connection:
        assert [status for status, _ in read_answers(connection, 2)] == [400, 200]  # no form
    before = service.process.rss(peak=True)
    field = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="name"\r\n\r\n'.encode()
    begun = POST + CHUNKED + KIND + b"\r\n%x\r\n%b\r\n0\r\n" % (len(field), field)
    with connect(port, begun) as connection:
        with suppress(ConnectionError):
            for _ in range(100):
                connection.sendall(b"A: b\r\n" * (MEGABYTE // 6))
        assert read_answer(connection).code == "headers_too_large"
    assert service.process.rss(peak=True) < before + 20 * MEGABYTE


def test_tiny_chunks_without_end(service: MeteredService, port: int) -> None:
    """A body in chunks of one byte takes no memory, however fast it comes."""
    before = service.process.rss()
    with connect(port, POST + CHUNKED + KIND + b"\r\n") as one:
        one.settimeout(1)
        with suppress(TimeoutError, ConnectionError):
            one.sendall(b"1\r\nx\r\n" * 2_000_000)
        assert ask(port, LIVE).status == 200
        assert service.process.rss() < before + 20 * MEGABYTE


OFFERS = {
    "HTTP/2": b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAM\r\n",
    "WebSocket": b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
    "TLS": b"Connection: Upgrade\r\nUpgrade: TLS/1.0\r\n",
    "something": b"Upgrade: x\r\n",
}


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("what", OFFERS)
def test_upgrade_is_ignored(
    service: MeteredService, port: int, what: str, *, chunked: bool
) -> None:
    """A request to upgrade the protocol is handled without the upgrade, and keeps its body."""
    offer = OFFERS[what]
    name, content = service.new_name(), png(seed=service._names)
    body = form(('name="name"', name.encode()), ('name="file"; filename="a.png"', content))
    framing = b"Content-Length: %d\r\n" % len(body)
    if chunked:
        framing, body = CHUNKED, b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    with connect(port, POST + KIND + offer + framing + b"\r\n" + body) as connection:
        connection.sendall(LIVE_LINE + HOST + offer + b"\r\n" + LIVE)
        assert [status for status, _ in read_answers(connection, 3)] == [201, 200, 200]
    assert service.send("GET", f"/images/{name}").content == content


def half_close(port: int, data: bytes) -> socket.socket:
    """Send `data`, and close the sending side."""
    connection = connect(port, data)
    connection.shutdown(socket.SHUT_WR)
    return connection


@on_sqlite
@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_half_closed(service_environment: dict[str, str], loop: str) -> None:
    """A client that closes its sending side gets all responses, and then the connection ends."""
    content = noise_png(5_000_000)
    body = form(('name="file"; filename="a.png"', content))
    upload = POST + KIND + b"Content-Length: %d\r\n\r\n" % len(body) + body
    download = b"GET /images/a HTTP/1.1\r\n" + HOST + b"\r\n"
    with ServiceProcess(service_environment, args=["--loop", loop]) as process:
        with half_close(process.port, upload[:-1]) as cut:
            assert has_ended(cut, 5)
        assert ask(process.port, download).status == 404
        with half_close(process.port, upload) as connection:
            assert read_answer(connection).status == 201
            assert has_ended(connection, 5)
        with half_close(process.port, LIVE * 100 + download) as connection:
            *live, (status, body) = read_answers(connection, 101)
            assert {status for status, _ in live} == {200}
            assert (status, body) == (200, content)
            assert has_ended(connection, 5)


def test_silence(port: int) -> None:
    """Connections that send nothing, or a head byte by byte, are closed."""
    with ExitStack() as stack:
        silent = [stack.enter_context(connect(port)) for _ in range(150)]
        begun = [stack.enter_context(connect(port, LIVE[:20])) for _ in range(150)]
        assert ask(port, LIVE).status == 200
        latest = time.monotonic() + 10
        for connection in begun:
            connection.settimeout(0)
        while begun and time.monotonic() < latest:
            begun = [connection for connection in begun if _drip(connection)]
        assert not begun
        assert all(has_ended(connection, 5) for connection in silent)


def _drip(connection: socket.socket, piece: bytes = b"x") -> bool:
    """Send one more piece; return whether the connection is still open."""
    try:
        connection.send(piece)
        return connection.recv(1) != b""
    except (BlockingIOError, TimeoutError):
        return True
    except ConnectionError:
        return False


@pytest.mark.parametrize("pieces", [[b"\r\n"], [b"\r", b"\n"]])
def test_empty_lines_without_end(port: int, pieces: list[bytes]) -> None:
    """A connection that sends only empty lines is closed."""
    latest = time.monotonic() + 10
    with connect(port) as connection:
        connection.settimeout(0.1)  # also the pause between two lines
        while all(_drip(connection, piece) for piece in pieces):
            assert time.monotonic() < latest


def test_idle(port: int) -> None:
    """An idle connection is closed after a request."""
    with connect(port, LIVE) as connection:
        assert read_answer(connection).status == 200
        assert has_ended(connection, 15)


def test_body_that_nobody_wants(port: int) -> None:
    """A client that gets its response and never sends its announced body is disconnected."""
    with connect(port, LIVE_LINE + HOST + b"Content-Length: 1000\r\n\r\n") as connection:
        assert read_answer(connection).status == 200
        latest = time.monotonic() + 10
        connection.settimeout(0)
        while _drip(connection):
            assert time.monotonic() < latest


@on_sqlite
def test_silence_after_an_answer(service_environment: dict[str, str]) -> None:
    """However long a connection may idle, the head of its next request has its time limit."""
    environment = service_environment | {"CLIENT_IDLE_SECONDS": "2"}
    with (
        ServiceProcess(environment, args=["--timeout-keep-alive", "75"]) as process,
        connect(process.port, LIVE) as connection,
    ):
        assert read_answer(connection).status == 200
        latest = time.monotonic() + 20
        connection.sendall(LIVE[:20])
        connection.settimeout(0.1)
        while _drip(connection):
            assert time.monotonic() < latest


@on_sqlite
def test_too_many_connections(service_environment: dict[str, str]) -> None:
    """Idle connections make room for new ones; requests that find no room are refused."""
    with ServiceProcess(service_environment) as process, ExitStack() as stack:
        resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (200, 200))
        idle = [stack.enter_context(connect(process.port)) for _ in range(150)]
        assert ask(process.port, LIVE).status == 200
        assert all(has_ended(connection, 20) for connection in idle[:50])
        begun = POST + KIND + b"Content-Length: 9\r\n\r\n"
        busy = [stack.enter_context(connect(process.port, begun)) for _ in range(100)]
        assert all(has_ended(connection, 20) for connection in idle)
        refused = ask(process.port, b"GET /images HTTP/1.1\r\n" + HOST + b"\r\n")
        assert (refused.status, refused.code) == (503, "overloaded")
        assert ask(process.port, LIVE).status == 200
        for connection in busy:
            connection.close()
        listing = b"GET /images HTTP/1.1\r\n" + HOST + b"\r\n"
        wait_until(lambda: ask(process.port, listing).status == 200, timeout=20, what="room")


@on_sqlite
def test_downloads_take_two_files(service_environment: dict[str, str]) -> None:
    """With 256 files and 300 clients that download, /health/live is answered, never reset."""
    with (
        ServiceProcess(service_environment) as process,
        httpx.Client(base_url=process.base_url) as client,
        ExitStack() as stack,
    ):
        assert upload(client, noise_png(8_000_000), name="large").status_code == 201
        resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (256, 256))
        download = b"GET /images/large HTTP/1.1\r\n" + HOST + b"\r\n"
        for _ in range(300):
            connection = socket.socket()
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            stack.enter_context(connection).connect(("127.0.0.1", process.port))
            connection.sendall(download)
            assert ask(process.port, LIVE).status in {200, 503}
        assert all(ask(process.port, LIVE).status in {200, 503} for _ in range(100))
        stack.close()
        wait_until(lambda: ask(process.port, download).status == 200, timeout=10, what="room")
        assert "Too many open files" not in process.log()


@on_sqlite
def test_limit_of_the_server(service_environment: dict[str, str]) -> None:
    """Uvicorn's own limit is also answered with a problem document."""
    with (
        ServiceProcess(service_environment, args=["--limit-concurrency", "2"]) as process,
        ExitStack() as stack,
    ):
        begun = POST + KIND + b"Content-Length: 9\r\n\r\n"
        for _ in range(2):
            stack.enter_context(connect(process.port, begun))
        wait_until(lambda: ask(process.port, LIVE).status == 503, timeout=5, what="the connections")
        assert ask(process.port, LIVE).code == "overloaded"


STARTS: list[tuple[Sequence[str], int]] = [
    ((), 1),
    ((), 2),
    (("--http", "runtime.http_protocol:HttpProtocol"), 1),
    (("--http", "h11"), 1),
    (("--loop", "asyncio"), 1),
]


@on_sqlite
@pytest.mark.parametrize(("arguments", "workers"), STARTS)
def test_however_started(
    service_environment: dict[str, str], arguments: Sequence[str], workers: int
) -> None:
    """The limits apply in every worker, with any options of uvicorn."""
    with ServiceProcess(service_environment, args=arguments, workers=workers) as process:
        for _ in range(8):
            assert ask(process.port, TOO_LARGE["a header"][0]).status == 431
        assert "unbounded" not in process.log()


@on_sqlite
def test_another_server(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    """Under another server than uvicorn, the log warns that connections are unbounded."""
    assert client.get("/health/live").status_code == 200
    warnings = [record for record in caplog.get_records("setup") if record.levelno > logging.INFO]
    assert sum("unbounded" in record.getMessage() for record in warnings) == 1


def dates(answer: http.client.HTTPResponse | dict[str, str]) -> tuple[float, float]:
    """Return Last-Modified and Date of a response's headers."""
    values = (answer["last-modified"], answer["date"])  # type: ignore[index]
    modified, date = (parsedate_to_datetime(value).timestamp() for value in values)
    return modified, date


def test_date(service: MeteredService, port: int) -> None:
    """Last-Modified is never later than Date."""
    name = service.new_name()
    latest = time.monotonic() + 2.5
    while time.monotonic() < latest:
        service.upload(name, png(seed=service._names))
        for path in (f"/images/{name}", f"/images/{name}/metadata"):
            headers = service.send("HEAD", path).headers
            modified, date = dates(dict(headers))
            assert modified <= date
        service.upload(name, png(seed=99))
    body = form(('name="file"; filename="late.png"', png()))
    with connect(port, POST + KIND + b"Content-Length: %d\r\n\r\n" % len(body)) as connection:
        begun = time.time()
        wait_until(lambda: time.time() > begun + 1.5, timeout=5, what="another second")
        connection.sendall(body)
        answer = read_answer(connection)
    assert answer.status == 201
    modified, date = dates(answer.headers)
    assert modified <= date <= time.time()
