"""What goes over the wire to S3, with nobody at the other end: addresses are never resolved."""

import socket
from typing import Any, NamedTuple

import pytest
import urllib3

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class Sent(NamedTuple):
    """One request as it was sent; the names of the headers are in lower case."""

    origin: str
    line: str
    headers: dict[str, str]


class Wire:
    """Takes the place of every connection of urllib3, and so of boto3 and of ours."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.answer = OK
        self._peers: list[tuple[str, socket.socket]] = []
        for scheme, kind in {
            "http": urllib3.connection.HTTPConnection,
            "https": urllib3.connection.HTTPSConnection,
        }.items():
            monkeypatch.setattr(kind, "connect", self._connects(scheme))

    def _connects(self, scheme: str) -> Any:
        def connect(connection: Any) -> None:
            connection.sock, peer = socket.socketpair()
            connection.is_verified = True
            peer.sendall(self.answer)
            self._peers.append((f"{scheme}://{connection.host}:{connection.port}", peer))

        return connect

    def sent(self) -> list[Sent]:
        """Return the requests since the last call, without their bodies."""
        requests = []
        for origin, peer in self._peers:
            head = peer.recv(100_000).partition(b"\r\n\r\n")[0].decode("latin-1")
            peer.close()
            line, *lines = head.split("\r\n")
            headers = dict(one.split(": ", 1) for one in lines)
            requests.append(Sent(origin, line, {k.lower(): v for k, v in headers.items()}))
        self._peers.clear()
        return requests
