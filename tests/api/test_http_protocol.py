"""HTTP/1.1 connections of the real server: malformed requests, size limits and time limits."""

import http.client
import json
import logging
import resource
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

import pytest
from fastapi.testclient import TestClient

from devstack.object_store import ObjectStore
from devstack.service_process import ServiceProcess
from devstack.waiting import wait_until
from tests.support.metered_service import MeteredService, metered_service
from tests.support.pictures import noise_png, png
from tests.support.raw_http import LIVE, ask, connect, has_ended, read_answer
from tests.support.uploads import BOUNDARY, form, on_sqlite

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

MEGABYTE = 1024 * 1024
LIVE_LINE = b"GET /health/live HTTP/1.1\r\n"
HOST = b"Host: x\r\n"
POST = b"POST /images HTTP/1.1\r\nHost: x\r\n"


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
    "HTTP/2": b"GET /health/live HTTP/2.0\r\n" + HOST + b"\r\n",
    "HTTP/0.9": b"GET /health/live\r\n\r\n",
    "gzip as transfer coding": POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n",
    "another transfer coding": POST + b"Transfer-Encoding: identity\r\n\r\n",
    "two transfer codings": POST + b"Transfer-Encoding: chunked\r\n" * 2 + b"\r\n",
    "chunks in HTTP/1.0": POST.replace(b"1.1", b"1.0") + b"Transfer-Encoding: chunked\r\n\r\n",
    "chunks and a length": POST + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n",
    "a length and chunks": POST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
    "two lengths": POST + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\n",
    "no length": POST + b"Content-Length: +3\r\n\r\n",
    "no chunk": POST + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n",
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


def test_empty_line(port: int) -> None:
    """An empty line before a request is ignored (RFC 9112 section 2.2), also in two pieces."""
    with connect(port, b"\r") as connection:
        for data in (b"\n" + LIVE, b"\r\n" + LIVE):
            connection.sendall(data)
            assert read_answer(connection).status == 200


def test_pipelining(port: int) -> None:
    """Pipelined requests, with and without bodies, are answered in order."""
    bodies = [b"Content-Length: 3\r\n\r\nabc", b"\r\n"]
    asked = [
        b"GET /images/n%d/metadata HTTP/1.1\r\n" % i + HOST + bodies[i % 2] for i in range(3000)
    ]
    with connect(port) as connection, connection.makefile("rb") as stream:
        connection.sendall(b"\r\n".join(asked[:1]) + b"".join(asked[1:]))
        for i in range(len(asked)):
            length = 0
            assert b" 404 " in stream.readline()
            while (line := stream.readline()) != b"\r\n":
                name, _, value = line.partition(b": ")
                length = int(value) if name == b"content-length" else length
            assert json.loads(stream.read(length))["instance"] == f"/images/n{i}/metadata"


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
    """Requests pipelined behind a chunked body are not answered; the connection is closed."""
    chunks = POST + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    with connect(port, chunks + LIVE * 1000) as connection:
        assert read_answer(connection).status == 400  # the body is not a form
        assert has_ended(connection, 5)


def test_upgrade_is_ignored(port: int) -> None:
    """An Upgrade field is ignored."""
    offer = LIVE_LINE + HOST + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    assert ask(port, offer).status == 200


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
def test_too_many_connections(service_environment: dict[str, str]) -> None:
    """Above half of the limit of open files, new connections replace idle ones; others are 503."""
    with ServiceProcess(service_environment) as process, ExitStack() as stack:
        resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (200, 200))
        idle = [stack.enter_context(connect(process.port)) for _ in range(150)]
        assert ask(process.port, LIVE).status == 200
        assert all(has_ended(connection, 5) for connection in idle[:50])
        begun = POST + b"Content-Type: multipart/form-data; boundary=b\r\nContent-Length: 9\r\n\r\n"
        busy = [stack.enter_context(connect(process.port, begun)) for _ in range(100)]
        assert all(has_ended(connection, 5) for connection in idle)
        refused = ask(process.port, LIVE)
        assert (refused.status, refused.code) == (503, "overloaded")
        busy.pop().close()
        wait_until(lambda: ask(process.port, LIVE).status == 200, timeout=5, what="a free slot")


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
    head = POST + f"Content-Type: multipart/form-data; boundary={BOUNDARY}\r\n".encode()
    with connect(port, head + b"Content-Length: %d\r\n\r\n" % len(body)) as connection:
        begun = time.time()
        wait_until(lambda: time.time() > begun + 1.5, timeout=5, what="another second")
        connection.sendall(body)
        answer = read_answer(connection)
    assert answer.status == 201
    modified, date = dates(answer.headers)
    assert modified <= date <= time.time()
