"""Peak memory of the service under large uploads and slow downloads."""

import http.client
import select
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from urllib.parse import urlsplit

from benchmarks.load import Slot
from benchmarks.photos import FORM_HEADERS, MB, upload_form
from benchmarks.stack import Setting, Stack
from devstack.server_process import ServerProcess

_UPLOADS = 16
_UPLOAD_BYTES = 25 * MB
_SUSTAINED_BYTES = 5 * MB
_SUSTAINED_ROUNDS = 20
_DOWNLOADS = 200
_DOWNLOAD_BYTES = 20 * MB
_DOWNLOAD_SECONDS = 8.0
_SETTING = Setting(images=0, inspection="full")


@dataclass(frozen=True)
class Memory:
    """Resident memory of the service in MB, at rest and at its peak."""

    row: str
    at_rest: float
    peak: float


def measure_memory(stack: Stack) -> Iterator[Memory]:
    """Measure all rows, each with a new service."""
    for name, load in {
        f"{_UPLOADS} uploads of 25 MB": _upload_at_once,
        f"sustained uploads of 5 MB by {_UPLOADS}": _upload_again_and_again,
        f"{_DOWNLOADS} slow downloads of 20 MB": _download_slowly,
    }.items():
        url = stack.database(_SETTING.engine, _SETTING.images)
        with stack.bucket() as bucket, stack.service(url, bucket, _SETTING) as process:
            at_rest = process.rss()
            load(process)
            yield Memory(name, at_rest / 1e6, process.rss(peak=True) / 1e6)


def _upload_at_once(process: ServerProcess) -> None:
    with ThreadPoolExecutor(_UPLOADS) as clients:
        for _ in clients.map(lambda number: _upload(process, number, _UPLOAD_BYTES), range(16)):
            pass


def _upload_again_and_again(process: ServerProcess) -> None:
    numbers = range(_UPLOADS * _SUSTAINED_ROUNDS)
    with ThreadPoolExecutor(_UPLOADS) as clients:
        for _ in clients.map(lambda number: _upload(process, number, _SUSTAINED_BYTES), numbers):
            pass


def _upload(process: ServerProcess, number: int, size: int) -> None:
    """Upload one image in parts, without copying them together."""
    slots = {Slot.INDEX: b"%07d" % number, Slot.SERIAL: b"%016d" % number}
    parts = [slots[part] if isinstance(part, Slot) else part for part in _form(size)]
    length = {"Content-Length": str(sum(map(len, parts)))}
    connection = http.client.HTTPConnection(urlsplit(process.base_url).netloc, timeout=60)
    connection.request("POST", "/images", iter(parts), FORM_HEADERS | length)
    response = connection.getresponse()
    if response.status not in {200, 201}:
        raise RuntimeError(f"an upload was answered with {response.status}: {response.read()!r}")
    connection.close()


def _form(size: int) -> tuple[bytes | Slot, ...]:
    return upload_form((b"large-", Slot.INDEX), size)


def _download_slowly(process: ServerProcess) -> None:
    """Read a few bytes from many downloads at a time."""
    _upload(process, 0, _DOWNLOAD_BYTES)
    address = urlsplit(process.base_url)
    request = f"GET /images/large-0000000 HTTP/1.1\r\nHost: {address.netloc}\r\n\r\n".encode()
    with ExitStack() as ends:
        clients = []
        for _ in range(_DOWNLOADS):
            client = ends.enter_context(socket.socket())
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 * 1024)
            client.connect((address.hostname, address.port))
            client.sendall(request)
            clients.append(client)
        deadline = time.monotonic() + _DOWNLOAD_SECONDS
        while time.monotonic() < deadline:
            for client in select.select(clients, [], [], 0.1)[0]:
                if not client.recv(4096):
                    raise RuntimeError("a slow download was cut short")
            time.sleep(0.05)
