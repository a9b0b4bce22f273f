"""CLIENT_IDLE_SECONDS disconnects clients that read nothing, but not clients that read slowly."""

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
    """The service on a Unix socket, as behind a proxy on the same host."""

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
    """Return a service with a large image and a short idle limit, over TCP and a Unix socket."""
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
    """Begin a download with a small receive buffer; read until the service's chunks are large."""
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
    """A client that reads slowly but steadily gets the whole body, long after the idle limit."""
    connection, response = download(service)
    with connection:
        began, taken = time.monotonic(), 4 * MEGABYTE
        while piece := response.read(128 * 1024):
            taken += len(piece)
            time.sleep(0.1)  # reads 1.3 MB a second: less than one chunk within the idle limit
    assert taken == int(response.headers["Content-Length"])
    assert time.monotonic() - began > 3 * IDLE_SECONDS


def test_silent(service: ServiceProcess) -> None:
    """A client that stops reading is disconnected and gets an incomplete body."""
    connection, response = download(service)
    with connection:
        wait_until(lambda: '"status":499' in service.log(), timeout=20, what="the disconnect")
        with suppress(ConnectionResetError):
            while response.read(MEGABYTE):
                pass
        assert response.length  # bytes of the body are missing
