"""HTTP as bytes on a socket, for what no client library would send."""

import json
import socket
from contextlib import suppress
from http.client import HTTPResponse
from typing import NamedTuple

LIVE = b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"


class Answer(NamedTuple):
    """A whole response; the status is 0 where none came."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def code(self) -> str:
        """The code of a problem document."""
        assert self.headers["content-type"] == "application/problem+json"
        return str(json.loads(self.body)["code"])


def connect(port: int, data: bytes = b"") -> socket.socket:
    """Open a connection and send `data`, as much of it as the service takes."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=30)
    with suppress(ConnectionError):
        connection.sendall(data)
    return connection


def read_answer(connection: socket.socket) -> Answer:
    """Return the next answer of a connection on which nothing was read ahead."""
    response = HTTPResponse(connection)
    with suppress(ConnectionError):
        response.begin()
        headers = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, headers, response.read())
    return Answer(0, {}, b"")


def ask(port: int, data: bytes) -> Answer:
    """Send bytes on a connection of their own and return the first answer."""
    with connect(port, data) as connection:
        return read_answer(connection)


def has_ended(connection: socket.socket, timeout: float) -> bool:
    """Tell whether the service closes the connection, without a word, within so many seconds."""
    connection.settimeout(timeout)
    try:
        return connection.recv(1) == b""
    except ConnectionError:
        return True
    except TimeoutError:
        return False
