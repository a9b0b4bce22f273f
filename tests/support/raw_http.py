"""Sends HTTP requests as raw bytes, including requests that no client library produces."""

import json
import socket
from contextlib import suppress
from http.client import HTTPResponse
from typing import NamedTuple

LIVE = b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"


class Answer(NamedTuple):
    """A complete response; the status is 0 if the server sent none."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def code(self) -> str:
        """The `code` of a problem document."""
        assert self.headers["content-type"] == "application/problem+json"
        return str(json.loads(self.body)["code"])


def connect(port: int, data: bytes = b"") -> socket.socket:
    """Open a connection and send as much of `data` as the service accepts."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=30)
    with suppress(ConnectionError):
        connection.sendall(data)
    return connection


def read_answer(connection: socket.socket) -> Answer:
    """Read one response from a connection; nothing beyond it may have been read before."""
    response = HTTPResponse(connection)
    with suppress(ConnectionError):
        response.begin()
        headers = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, headers, response.read())
    return Answer(0, {}, b"")


def ask(port: int, data: bytes) -> Answer:
    """Send bytes on a new connection and return the first response."""
    with connect(port, data) as connection:
        return read_answer(connection)


def has_ended(connection: socket.socket, timeout: float) -> bool:
    """Return whether the service closes the connection in `timeout` seconds and sends nothing."""
    connection.settimeout(timeout)
    try:
        return connection.recv(1) == b""
    except ConnectionError:
        return True
    except TimeoutError:
        return False
