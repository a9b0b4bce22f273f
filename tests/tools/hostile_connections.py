"""Clients that wish a service ill, each in its own way, all at once, for a while.

    python -m tests.tools.hostile_connections PORT SECONDS NUMBER

Opens NUMBER connections at a time to 127.0.0.1:PORT, where the image `big` is large. Prints how
often each kind of client has come.
"""

# ruff: noqa: T201 - run as a command it talks to people by print

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
    """One hostile client: a connection, and until when it may go on."""

    def __init__(self, port: int, latest: float) -> None:
        self._latest = latest
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=2)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def close(self) -> None:
        """Go away."""
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
        """Connect, and that is all."""
        self._listen()

    def begin(self) -> None:
        """Send a head byte by byte and never its end."""
        self._drip(_GET + b"A: ", b"a", 0.05)

    def send_endless_head(self) -> None:
        """Send a header that does not end."""
        self._flood(_GET + b"If-None-Match: ", b'"a",' * 16384)

    def send_many_headers(self) -> None:
        """Send headers without end."""
        self._flood(_GET, b"a: b\r\n" * 10000)

    def pipeline(self) -> None:
        """Send requests and read no answers."""
        self._flood(b"", (_GET + b"\r\n") * 2000)

    def pipeline_behind_download(self) -> None:
        """Ask for something large, then for more and more."""
        self._flood(b"GET /images/big HTTP/1.1\r\nHost: x\r\n\r\n", (_GET + b"\r\n") * 2000)

    def stop_reading(self) -> None:
        """Ask for something large and take none of it."""
        self._drip(b"GET /images/big HTTP/1.1\r\nHost: x\r\n\r\n", b"", 0.5)

    def stop_sending(self) -> None:
        """Begin an upload and fall silent."""
        self._send(_POST % b"Content-Length: 1000000\r\n" + _FILE + b"x" * 500_000)
        self._listen()

    def send_bytes(self) -> None:
        """Upload byte by byte, each in a segment of its own."""
        self._send(_POST % b"Content-Length: 7000000\r\n" + _FILE)
        while time.monotonic() < self._latest:
            self._socket.send(b"x")

    def send_small_chunks(self) -> None:
        """Upload in chunks of a byte."""
        self._flood(_POST % _CHUNKED + b"%x\r\n%s\r\n" % (len(_FILE), _FILE), b"1\r\nx\r\n" * 5000)

    def send_empty_lines(self) -> None:
        """Send nothing but ends of lines."""
        self._flood(b"", b"\r\n" * 50000)

    def send_fields(self) -> None:
        """Upload a form of headers."""
        part = b"--b\r\n" + b"a: b\r\n" * 7 + b"\r\n\r\n"
        self._flood(_POST % b"Content-Length: 40000000\r\n", part * 1000)

    def ask_in_detail(self) -> None:
        """Send the longest head, of fields that are hard to read, again and again."""
        tags = b"If-Match: " + b'W/"a" , ' * 2500 + b"\r\n"
        kind = b"If-None-Match: " + b'"a"' + b" ," * 3000 + b"\r\n"
        while time.monotonic() < self._latest:
            self._send(_GET + tags + kind + b"\r\n")
            self._socket.recv(65536)

    def turn_pages(self) -> None:
        """Send the longest cursor and the longest prefix, again and again."""
        long = b"GET /images?cursor=%s&prefix=%s HTTP/1.1\r\nHost: x\r\n\r\n"
        while time.monotonic() < self._latest:
            self._send(long % (b"WyJuYW1lIiwi" * 300, b"e%CC%81" * 127))
            self._socket.recv(65536)

    def talk_nonsense(self) -> None:
        """Send what cannot be a request."""
        self._send(_POST % (_CHUNKED + b"Content-Length: 9\r\n") + b"0\r\n\r\n")
        self._listen()


KINDS: list[Callable[[Attack], None]] = [
    attack for name, attack in vars(Attack).items() if not name.startswith("_") and name != "close"
]


def run(port: int, seconds: float, number: int) -> Counter[str]:
    """Attack from so many connections at a time, each of another kind than the one before."""
    came: Counter[str] = Counter()
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
            came[kind.__name__] += 1
            time.sleep(0.01)

    threads = [threading.Thread(target=attack, args=[next(kinds)]) for _ in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return came


if __name__ == "__main__":
    # The service is to be measured, not how it competes with its enemies for the machine.
    os.nice(10)
    print(dict(run(int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]))))
