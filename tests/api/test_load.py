"""Under load reads return whole versions, memory is bounded, and slow readers block nobody."""

import hashlib
import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from http.client import HTTPResponse

import httpx
import pytest
from sqlalchemy import text

from config import Settings
from devstack.databases import connection
from devstack.service_process import ServiceProcess
from tests.support import pictures
from tests.support.uploads import count, on_sqlite, upload

NAMES = ["cat", "dog", "eel"]
WRITERS = 16
# Below and above the sizes at which uploads spool to disk and downloads are streamed.
VERSIONS = [
    *(pictures.png(30, 20, seed) for seed in range(4)),
    *(pictures.noise_png(size, size) for size in (100_000, 1_000_000, 1_100_000, 1_500_000)),
]
DIGESTS = {hashlib.sha256(version).hexdigest() for version in VERSIONS}


class Visitor:
    """A client that writes, reads and deletes at random; `done` counts its responses."""

    def __init__(self, service: ServiceProcess, seed: int) -> None:
        self.done: Counter[str] = Counter()
        self._random = random.Random(seed)
        self._client = httpx.Client(base_url=service.base_url, timeout=60)

    def work(self, until: float) -> Counter[str]:
        """Send requests until the time `until` (`time.monotonic`)."""
        with self._client:
            while time.monotonic() < until:
                name = self._random.choice(NAMES)
                act = self._random.choices([self._write, self._read, self._delete], [4, 5, 1])[0]
                answer = act(name)
                self.done[f"{act.__name__} {answer.status_code}"] += 1
        return self.done

    def _write(self, name: str) -> httpx.Response:
        version = self._random.choice(VERSIONS)
        answer = upload(self._client, version, name=name)
        assert answer.status_code in {200, 201, 409}, answer.text
        if answer.is_success:
            assert answer.json()["sha256"] == hashlib.sha256(version).hexdigest()
        return answer

    def _read(self, name: str) -> httpx.Response:
        answer = self._client.get(f"/images/{name}")
        assert answer.status_code in {200, 404}, answer.text
        if answer.is_success:
            digest = hashlib.sha256(answer.content).hexdigest()
            assert digest in DIGESTS
            assert answer.headers["ETag"] == f'"{digest}"'
        return answer

    def _delete(self, name: str) -> httpx.Response:
        answer = self._client.delete(f"/images/{name}")
        assert answer.status_code in {200, 404, 409}, answer.text
        return answer


def crowd(service: ServiceProcess, seconds: float) -> None:
    """Let 16 visitors work at once; a fixture checks the invariants after the test."""
    until = time.monotonic() + seconds
    visitors = [Visitor(service, seed) for seed in range(WRITERS)]
    with ThreadPoolExecutor(WRITERS) as threads:
        done = sum(threads.map(Visitor.work, visitors, [until] * WRITERS), Counter())
    for what in ("_write 200", "_write 201", "_read 200", "_read 404", "_delete 200"):
        assert done[what], done
    assert "Traceback" not in service.log()


def test_crowd(service: ServiceProcess) -> None:
    """16 clients on 3 names read whole versions only, and leave bucket and tables consistent."""
    crowd(service, 6)


@pytest.mark.soak
def test_crowd_for_a_minute(service: ServiceProcess) -> None:
    """The promise of `test_crowd` holds for a minute of load."""
    crowd(service, 60)


class TooMuchError(AssertionError):
    """The service took more memory than promised."""


@pytest.fixture
def patient(service_environment: dict[str, str]) -> Iterator[ServiceProcess]:
    """Run a service with a long connect timeout, so that a busy disk fails no upload."""
    with ServiceProcess({**service_environment, "CONNECT_TIMEOUT_SECONDS": "60"}) as service:
        yield service


@on_sqlite
def test_memory(patient: ServiceProcess, settings: Settings) -> None:
    """16 concurrent uploads of 25 MB take less than 300 MB of memory in total."""
    content = pictures.noise_png(25_000_000)
    starts = threading.Barrier(16)

    def send(number: int) -> int:
        with httpx.Client(base_url=patient.base_url, timeout=300) as client:
            starts.wait()
            return upload(client, content, name=str(number)).status_code

    with ThreadPoolExecutor(16) as threads:
        statuses = list(threads.map(send, range(16)))
    assert statuses == [201] * 16
    assert count(settings, "images") == 16
    if (peak := patient.rss(peak=True)) > 300_000_000:
        raise TooMuchError(peak)
    assert peak > 50_000_000


def slow_download(service: ServiceProcess) -> tuple[socket.socket, HTTPResponse]:
    """Request the image and read only the response's head."""
    raw = socket.socket()
    raw.settimeout(60)
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    raw.connect(("127.0.0.1", service.port))
    raw.sendall(b"GET /images/large HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    answer = HTTPResponse(raw)
    answer.begin()
    return raw, answer


def states(settings: Settings) -> set[str]:
    """Return the states of all other connections to the database."""
    others = "SELECT state FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
    with connection(settings.db_url) as db:
        return set(db.scalars(text(f"{others} AND datname = current_database()")))


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_slow_downloads(service: ServiceProcess, settings: Settings) -> None:
    """200 slow downloads hold no database connection and do not delay metadata and uploads."""
    content = pictures.noise_png(12_000_000)
    with ExitStack() as ends, httpx.Client(base_url=service.base_url, timeout=60) as client:
        large = upload(client, content, name="large").raise_for_status().json()
        downloads = [slow_download(service) for _ in range(200)]
        for raw, answer in downloads:
            ends.callback(raw.close)
            ends.callback(answer.close)
            assert answer.status == 200
        assert states(settings) == {"idle"}
        for _ in range(50):
            assert client.get("/images/large/metadata").json() == large
        assert upload(client, pictures.png(), name="small").status_code == 201
        assert states(settings) == {"idle"}
        assert downloads[7][1].read() == content
