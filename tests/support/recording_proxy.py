"""A proxy that answers in place of S3 and records what it was asked: no address is resolved.

Clients reach it by HTTP_PROXY and HTTPS_PROXY, and trust its certificates by AWS_CA_BUNDLE.
"""

import re
import socket
import ssl
import threading
from contextlib import ExitStack, suppress
from io import BufferedRWPair
from typing import NamedTuple, Self

import pytest

from tests.support.certificates import Certificates

_RANGE = re.compile(r"bytes=(\d+)-(\d+)")


class RecordedRequest(NamedTuple):
    """One request as it was sent; the names of the headers are in lower case."""

    origin: str
    method: str
    path: str
    headers: dict[str, str]


class RecordingProxy:
    """The proxy; `answers` has what an origin answers instead of success."""

    def __init__(self, certificates: Certificates) -> None:
        self._certificates = certificates
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.answers: dict[str, bytes] = {}
        self._sent: list[RecordedRequest] = []
        self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._context.load_cert_chain(certificates.certificate, certificates.key)

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, name="proxy", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()

    def environment(self, patch: pytest.MonkeyPatch) -> None:
        """Lead all clients here."""
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"):
            patch.delenv(name.lower(), raising=False)
            patch.delenv(name, raising=False)
        patch.setenv("http_proxy", self.url)
        patch.setenv("https_proxy", self.url)
        patch.setenv("AWS_CA_BUNDLE", str(self._certificates.ca))

    def sent(self) -> list[RecordedRequest]:
        """Return the requests since the last call."""
        taken, self._sent = self._sent, []
        return taken

    def _accept(self) -> None:
        with suppress(OSError):  # closed
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=[client], daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with suppress(OSError), ExitStack() as ends:
            stream = ends.enter_context(ends.enter_context(client).makefile("rwb"))
            request = _read_head(stream)
            if request and request.method == "CONNECT":
                origin = f"https://{request.path.removesuffix(':443')}"
                stream.write(b"HTTP/1.1 200 Connected\r\n\r\n")
                stream.flush()
                client = ends.enter_context(self._context.wrap_socket(client, server_side=True))
                stream = ends.enter_context(client.makefile("rwb"))
                if request := _read_head(stream):
                    request = request._replace(origin=origin)
            if request:
                self._answer(stream, request)

    def _answer(self, stream: BufferedRWPair, request: RecordedRequest) -> None:
        """Take the body, record the request, answer and close."""
        if "expect" in request.headers:
            stream.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            stream.flush()
        stream.read(int(request.headers.get("content-length", "0")))
        self._sent.append(request)
        stream.write(self.answers.get(request.origin, _success(request)))
        stream.flush()


def _read_head(stream: BufferedRWPair) -> RecordedRequest | None:
    """Read the head of a request; of one to a proxy the target has the origin, too."""
    method, _, target = stream.readline().decode("latin-1").rpartition(" ")[0].partition(" ")
    headers = {}
    while line := stream.readline().strip():
        name, _, value = line.decode("latin-1").partition(": ")
        headers[name.lower()] = value
    if method == "CONNECT" or not method:
        return RecordedRequest("", method, target, headers) if method else None
    scheme, _, rest = target.partition("://")
    if not rest:
        return RecordedRequest("", method, target, headers)
    host, slash, path = rest.partition("/")
    return RecordedRequest(f"{scheme}://{host}", method, slash + path, headers)


def _success(request: RecordedRequest) -> bytes:
    """Return what S3 would answer of an object of no bytes, or a part of one."""
    head = b'ETag: "x"\r\nConnection: close\r\n'
    if part := _RANGE.match(request.headers.get("range", "")):
        first, last = map(int, part.groups())
        body = b"x" * (last - first + 1)
        head += f"Content-Range: bytes {first}-{last}/{last + 1}\r\n".encode()
        return b"HTTP/1.1 206 OK\r\n%sContent-Length: %d\r\n\r\n%s" % (head, len(body), body)
    return b"HTTP/1.1 200 OK\r\n%sContent-Length: 0\r\n\r\n" % head
