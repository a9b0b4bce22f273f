"""Database connections that are cut repeatedly: clients get 503 at worst, and nothing is lost."""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx
import pytest

from devstack.databases import disconnect_others
from devstack.service_process import ServiceProcess
from devstack.waiting import wait_until
from tests.support import pictures
from tests.support.uploads import upload

CUT_SECONDS = 0.15
CLIENTS = 8
PICTURES = [pictures.png(seed=seed) for seed in range(4)]
ALLOWED = {200, 201, 404, 409, 503}

on_servers = pytest.mark.parametrize(
    "database_url", ["postgresql", "mariadb", "mysql"], indirect=True
)
durations = pytest.mark.parametrize("seconds", [4, pytest.param(60, marks=pytest.mark.soak)])


@contextmanager
def cutting(url: str) -> Iterator[None]:
    """Cut all other connections to the database every 150 ms while the block runs."""
    stop = threading.Event()

    def cut() -> None:
        while not stop.wait(CUT_SECONDS):
            disconnect_others(url)

    with ThreadPoolExecutor(1) as threads:
        cutter = threads.submit(cut)
        try:
            yield
        finally:
            stop.set()
        cutter.result()


def visit(service: ServiceProcess, number: int, end: float) -> Counter[int]:
    """Upload, read, list and delete until `end`; return the number of responses per status."""
    statuses: Counter[int] = Counter()
    with httpx.Client(base_url=service.base_url, timeout=30) as client:
        while time.monotonic() < end:
            name = f"image-{(number + statuses.total()) % 5}"
            for answer in (
                upload(client, PICTURES[statuses.total() % 4], name=name),
                client.get(f"/images/{name}"),
                client.get(f"/images/{name}/metadata"),
                client.get("/images/random/metadata"),
                client.get("/images"),
                client.delete(f"/images/{name}"),
            ):
                statuses[answer.status_code] += 1
    return statuses


@on_servers
@durations
def test_cut_connections(service_environment: dict[str, str], seconds: float) -> None:
    """Cut connections cause no 500, the service recovers at once, and its sweeper continues."""
    sweeping = service_environment | {"SWEEP_INTERVAL_SECONDS": "0.2"}
    with ServiceProcess(sweeping) as service:
        end = time.monotonic() + seconds
        with cutting(service_environment["DB_URL"]), ThreadPoolExecutor(CLIENTS) as threads:
            visits = [threads.submit(visit, service, number, end) for number in range(CLIENTS)]
            statuses = sum((one.result() for one in visits), Counter[int]())
        assert set(statuses) <= ALLOWED, service.log()[-4000:]
        assert statuses[200] > statuses[503], statuses
        with httpx.Client(base_url=service.base_url, timeout=10) as client:
            # The last cut may have hit a connection that no request has used since.
            healed = lambda: client.get("/images").status_code == 200  # noqa: E731
            wait_until(healed, timeout=2, what="recovery")
            assert upload(client, pictures.gif(), "swept.gif").is_success
            assert upload(client, pictures.gif(seed=9), "swept.gif").is_success
            assert client.delete("/images/swept").is_success
        assert "internal_error" not in service.log()
        assert "Sweep failed" not in service.log()


@on_servers
def test_sweeper_after_a_cut(service_environment: dict[str, str]) -> None:
    """The service's sweeper deletes objects also after its connections were cut."""
    sweeping = service_environment | {"SWEEP_INTERVAL_SECONDS": "0.2", "KEEP_DELETED_SECONDS": "1"}
    with (
        ServiceProcess(sweeping) as service,
        httpx.Client(base_url=service.base_url, timeout=10) as client,
    ):
        for _ in range(5):
            disconnect_others(service_environment["DB_URL"])
            client.get("/images")
        wait_until(lambda: client.get("/images").is_success, timeout=2, what="recovery")
        assert upload(client, pictures.png(), "a.png").is_success
        assert client.delete("/images/a").is_success
        wait_until(lambda: "Swept" in service.log(), timeout=10, what="the sweeper")
