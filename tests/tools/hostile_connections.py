"""Attacks a service with many kinds of hostile clients at the same time.

    python -m tests.tools.hostile_connections PORT SECONDS NUMBER

Keeps NUMBER connections to 127.0.0.1:PORT open for SECONDS. The service must have a large image
`big`. Prints how often each kind of client connected.
"""

# ruff: noqa: T201 - this command prints its results

import itertools
import os
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress

_GET = b"GET /images/big/metadata HTTP/1.1\r\nHost: x\r\n"
_POST = (
    b"POST /images HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=b\r\n%s\r\n"
)
_FILE = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n'
_CHUNKED = b"Transfer-Encoding: chunked\r\n"


class Attack:
    """One hostile client: a connection, and the time at which it stops."""

    def __init__(self, port: int, latest: float) -> None:
        self._latest = latest
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=2)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def _send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def _flood(self, first: bytes, more: bytes) -> None:
        self._send(first)
        while time.monotonic() < self._latest:
            self._send(more)

    def _drip(self, first: bytes, more: bytes, pause: float) -> None:
        self._send(first)
        while time.monotonic() < self._latest:
            self._send(more)
            time.sleep(pause)

    def _listen(self) -> None:
        while self._socket.recv(65536):
            if time.monotonic() > self._latest:
                break

    def say_nothing(self) -> None:
        """Connect and send nothing."""
        self._listen()

    def begin(self) -> None:
        """Send a head byte by byte without end."""
        self._drip(_GET + b"A: ", b"a", 0.05)

    def send_endless_head(self) -> None:
        """Send one header field without end."""
        self._flood(_GET + b"If-None-Match: ", b'"a",' * 16384)

    def send_many_headers(self) -> None:
        """Send header fields without end."""
        self._flood(_GET, b"a: b\r\n" * 10000)

    def pipeline(self) -> None:
        """Send requests and read no responses."""
        self._flood(b"", (_GET + b"\r\n") * 2000)

    def pipeline_behind_download(self) -> None:
        """Request a large download, then pipeline more requests."""
        self._flood(b"GET /images/big HTTP/1.1\r\nHost: x\r\n\r\n", (_GET + b"\r\n") * 2000)

    def stop_reading(self) -> None:
        """Request a large download and read nothing."""
        self._drip(b"GET /images/big HTTP/1.1\r\nHost: x\r\n\r\n", b"", 0.5)

    def stop_sending(self) -> None:
        """Start an upload and stop sending."""
        self._send(_POST % b"Content-Length: 1000000\r\n" + _FILE + b"x" * 500_000)
        self._listen()

    def send_bytes(self) -> None:
        """Upload byte by byte, each in its own TCP segment."""
        self._send(_POST % b"Content-Length: 7000000\r\n" + _FILE)
        while time.monotonic() < self._latest:
            self._socket.send(b"x")

    def send_small_chunks(self) -> None:
        """Upload in chunks of one byte."""
        self._flood(_POST % _CHUNKED + b"%x\r\n%s\r\n" % (len(_FILE), _FILE), b"1\r\nx\r\n" * 5000)

    def send_empty_lines(self) -> None:
        """Send only empty lines."""
        self._flood(b"", b"\r\n" * 50000)

    def send_fields(self) -> None:
        """Upload a form whose parts consist of header fields."""
        part = b"--b\r\n" + b"a: b\r\n" * 7 + b"\r\n\r\n"
        self._flood(_POST % b"Content-Length: 40000000\r\n", part * 1000)

    def ask_in_detail(self) -> None:
        """Send heads of the maximum length, with fields that are expensive to parse."""
        tags = b"If-Match: " + b'W/"a" , ' * 2500 + b"\r\n"
        kind = b"If-None-Match: " + b'"a"' + b" ," * 3000 + b"\r\n"
        while time.monotonic() < self._latest:
            self._send(_GET + tags + kind + b"\r\n")
            self._socket.recv(65536)

    def turn_pages(self) -> None:
        """Request pages with a cursor and a prefix of the maximum length."""
        long = b"GET /images?cursor=%s&prefix=%s HTTP/1.1\r\nHost: x\r\n\r\n"
        while time.monotonic() < self._latest:
            self._send(long % (b"WyJuYW1lIiwi" * 300, b"e%CC%81" * 127))
            self._socket.recv(65536)

    def talk_nonsense(self) -> None:
        """Send an invalid request."""
        self._send(_POST % (_CHUNKED + b"Content-Length: 9\r\n") + b"0\r\n\r\n")
        self._listen()


KINDS: list[Callable[[Attack], None]] = [
    attack for name, attack in vars(Attack).items() if not name.startswith("_") and name != "close"
]


def run(port: int, seconds: float, number: int) -> Counter[str]:
    """Attack with `number` connections at a time, cycling through the kinds."""
    connected: Counter[str] = Counter()
    kinds = itertools.cycle(KINDS)
    latest = time.monotonic() + seconds

    def attack(kind: Callable[[Attack], None]) -> None:
        while time.monotonic() < latest:
            with suppress(OSError):
                one = Attack(port, latest)
                try:
                    kind(one)
                finally:
                    one.close()
            connected[kind.__name__] += 1
            time.sleep(0.01)

    threads = [threading.Thread(target=attack, args=[next(kinds)]) for _ in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return connected


if __name__ == "__main__":
    # A lower priority, so that the test measures the service and not the competition for CPU.
    os.nice(10)
    print(dict(run(int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]))))
