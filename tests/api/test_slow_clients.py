"""CLIENT_IDLE_SECONDS: a client that takes no byte is given up, however slow others are."""

import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from http.client import HTTPResponse
from pathlib import Path

import httpx
import pytest

from devstack.service_process import ServiceProcess
from devstack.waiting import wait_until
from tests.support.pictures import noise_png
from tests.support.uploads import on_sqlite, upload

MEGABYTE = 1024 * 1024
SIZE = 12 * MEGABYTE
IDLE_SECONDS = 1.0

pytestmark = on_sqlite


class _OnUnixSocket(ServiceProcess):
    """The service behind a Unix socket, as for a proxy on the same host."""

    def __init__(self, environment: dict[str, str], path: Path) -> None:
        super().__init__(environment, args=["--uds", str(path)])
        self.path = path

    def _live(self) -> bool:
        with suppress(OSError), socket.socket(socket.AF_UNIX) as probe:
            probe.connect(str(self.path))
            return True
        return False


@pytest.fixture(params=["TCP", "a Unix socket"])
def service(
    request: pytest.FixtureRequest, service_environment: dict[str, str], tmp_path: Path
) -> Iterator[ServiceProcess]:
    """Return a running service that has a large image and is impatient with clients."""
    environment = service_environment | {"CLIENT_IDLE_SECONDS": str(IDLE_SECONDS)}
    with ServiceProcess(environment) as tcp:
        with httpx.Client(base_url=tcp.base_url) as client:
            assert upload(client, noise_png(SIZE), name="large").status_code == 201
        if request.param == "TCP":
            yield tcp
        else:
            with _OnUnixSocket(environment, tmp_path / "socket") as unix:
                yield unix


def download(service: ServiceProcess) -> tuple[socket.socket, HTTPResponse]:
    """Begin a download through a small window, and take so much that its chunks are large."""
    if isinstance(service, _OnUnixSocket):
        connection, address = socket.socket(socket.AF_UNIX), str(service.path)
    else:
        connection, address = socket.socket(), ("127.0.0.1", service.port)  # type: ignore[assignment]
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
    connection.settimeout(20)
    connection.connect(address)
    connection.sendall(b"GET /images/large HTTP/1.1\r\nHost: x\r\n\r\n")
    response = HTTPResponse(connection)
    response.begin()
    assert len(response.read(4 * MEGABYTE)) == 4 * MEGABYTE
    return connection, response


def test_slow_but_steady(service: ServiceProcess) -> None:
    """A client that takes a little again and again gets everything, in many times the limit."""
    connection, response = download(service)
    with connection:
        began, taken = time.monotonic(), 4 * MEGABYTE
        while piece := response.read(128 * 1024):
            taken += len(piece)
            time.sleep(0.1)  # its pace: 1.3 MB a second, less than a chunk in the time limit
    assert taken == int(response.headers["Content-Length"])
    assert time.monotonic() - began > 3 * IDLE_SECONDS


def test_silent(service: ServiceProcess) -> None:
    """A client that takes nothing any more is given up, and does not find a whole body."""
    connection, response = download(service)
    with connection:
        wait_until(lambda: '"status":499' in service.log(), timeout=20, what="the end of it")
        with suppress(ConnectionResetError):
            while response.read(MEGABYTE):
                pass
        assert response.length  # of the body is missing
