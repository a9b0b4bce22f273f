"""`/metrics` counts every request by route, summed over all workers."""

import hashlib
import os
import shutil
import signal
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path

import httpx
import pytest
import urllib3
from fastapi.testclient import TestClient

from config import ApiKey, Settings
from devstack.service_process import ServiceProcess
from devstack.waiting import wait_until
from tests.support import pictures
from tests.support.metrics import Metrics, scrape
from tests.support.service_behind_proxies import ServiceBehindProxies
from tests.support.uploads import on_sqlite, problem, serving, upload

REQUESTS = "image_api_requests_total"
on_postgresql = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)


@pytest.fixture
def counted(client: TestClient) -> Callable[[], Metrics]:
    """Return a function that returns the increase of all metrics since its last call."""
    last = scrape(client)

    def rise() -> Metrics:
        nonlocal last
        now = scrape(client)
        risen, last = now - last, now
        return risen

    return rise


def requests_by(metrics: Metrics) -> dict[tuple[str, ...], float]:
    """Return requests by route, method and status, without /metrics and health checks."""
    return {
        (labels["route"], labels["method"], labels["status"]): value
        for labels, value in metrics.series(REQUESTS)
        if value and not labels["route"].startswith(("/metrics", "/health/"))
    }


@on_sqlite
def test_every_answer_counts(client: TestClient, counted: Callable[[], Metrics]) -> None:
    """Each request is counted once, by its route's template, its method and its status."""
    picture = pictures.png()
    upload(client, picture, name="a")
    upload(client, picture, name="a")
    client.post("/images", content=b"nothing")
    tag = client.get("/images/a").headers["ETag"]
    client.get("/images/a", headers={"If-None-Match": tag})
    client.head("/images/a")
    client.get("/images/a/metadata")
    client.get("/images/b/metadata")
    client.get("/images/random/metadata")
    client.get("/images", params={"limit": 0})
    client.put("/images/c", content=picture)
    client.put("/images/a")
    client.patch("/images/a")
    client.get("/images/a%2Fb/metadata")
    client.get("/nowhere/at/all")
    client.request("BREW", "/images/a")
    client.get("/docs")
    client.delete("/images/a")
    assert requests_by(counted()) == {
        ("/images", "POST", "201"): 1,
        ("/images", "POST", "200"): 1,
        ("/images", "POST", "400"): 1,
        ("/images/{name}", "GET", "200"): 1,
        ("/images/{name}", "GET", "304"): 1,
        ("/images/{name}", "HEAD", "200"): 1,
        ("/images/{name}/metadata", "GET", "200"): 1,
        ("/images/{name}/metadata", "GET", "404"): 1,
        ("/images/random/metadata", "GET", "200"): 1,
        ("/images", "GET", "422"): 1,
        ("/images/{name}", "PUT", "201"): 1,
        ("/images/{name}", "PUT", "415"): 1,
        ("/images/{name}", "PATCH", "405"): 1,
        ("unmatched", "GET", "400"): 1,
        ("unmatched", "GET", "404"): 1,
        ("/images/{name}", "other", "405"): 1,
        ("/docs", "GET", "200"): 1,
        ("/images/{name}", "DELETE", "200"): 1,
    }


@on_sqlite
def test_series_are_bounded(client: TestClient) -> None:
    """Requests for new paths, methods and names add no series."""
    client.get("/images/seen/metadata")
    client.get("/seen")
    client.request("SEEN", "/seen")
    scrape(client)
    before = scrape(client)  # includes the series that the first one added
    for number in range(50):
        client.get(f"/images/x{number}/metadata")
        client.get(f"/x{number}")
        client.request(f"X{number}", "/x")
    assert set(scrape(client).values) == set(before.values)


@on_sqlite
def test_bytes_and_uploads(client: TestClient, counted: Callable[[], Metrics]) -> None:
    """Received and sent bodies are counted to the byte, and uploads by outcome."""
    small, large = pictures.png(), pictures.noise_png(1_500_000)
    bodies = [small, small, large, b"no picture"]
    answers = [upload(client, body, name="a") for body in bodies]
    answers += [client.put("/images/b", content=body) for body in (small, b"no picture")]
    answers += [client.get("/images/a"), client.head("/images/a"), client.get("/images")]
    received = sum(int(answer.request.headers.get("Content-Length", 0)) for answer in answers)
    sent = sum(len(answer.content) for answer in answers)
    page = len(client.get("/metrics").content)
    risen = counted()
    outcomes = risen.series("image_api_uploads_total")
    assert {labels["outcome"]: n for labels, n in outcomes if n} == {
        "created": 2,
        "unchanged": 1,
        "replaced": 1,
        "refused": 2,
    }
    assert received > len(small) * 2 + len(large)
    assert risen["image_api_received_bytes_total"] == received
    # Includes the first scrape of `counted`, which was shorter than `page`.
    assert sent + page < risen["image_api_sent_bytes_total"] < sent + 2 * page


@on_sqlite
def test_backends(client: TestClient, counted: Callable[[], Metrics]) -> None:
    """Each request to S3, each SELECT and each transaction is counted once in its histogram."""
    upload(client, pictures.png(), name="a")
    client.get("/images/a")
    client.delete("/images/a")
    risen = counted()
    operations = {
        labels["operation"]: value
        for labels, value in risen.series("image_api_s3_request_duration_seconds_count")
    }
    assert {name: operations[name] for name in ("put", "get", "delete")} == {
        "put": 1,
        "get": 1,
        "delete": 1,
    }
    kinds = {
        labels["kind"]: value
        for labels, value in risen.series("image_api_database_duration_seconds_count")
    }
    # Reads: before upload and download. Writes: journal, image row, deletion, end of the entry.
    assert kinds == {"read": 2, "write": 4}
    assert risen["image_api_database_duration_seconds_sum", {"kind": "read"}] > 0
    assert not risen["image_api_database_errors_total"]


@on_sqlite
def test_guarded(settings: Settings) -> None:
    """With API keys `/metrics` needs a key of either scope, even if reads are public."""
    tokens = {"read": "r", "write": "w"}
    keys = tuple(
        ApiKey(scope, scope, hashlib.sha256(token.encode()).hexdigest())  # type: ignore[arg-type]
        for scope, token in tokens.items()
    )
    with serving(settings, api_keys=keys, public_reads=True) as client:
        assert client.get("/images").status_code == 200
        problem(client.get("/metrics"), 401, "key_required")
        problem(client.get("/metrics", headers={"Authorization": "Bearer x"}), 401, "invalid_key")
        for token in tokens.values():
            answer = client.get("/metrics", headers={"Authorization": f"Bearer {token}"})
            assert answer.status_code == 200
            assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    with serving(settings) as client:
        assert client.head("/metrics").status_code == 200


@pytest.fixture
def two_workers(service_environment: dict[str, str], tmp_path: Path) -> Iterator[ServiceProcess]:
    """Run the service with two workers and a separate temporary folder."""
    environment = service_environment | {"TMPDIR": str(tmp_path)}
    with ServiceProcess(environment, workers=2) as process:
        wait_until(lambda: len(workers_of(tmp_path)) == 2, timeout=30, what="two workers")
        yield process


def workers_of(folder: Path) -> list[Path]:
    """Return one file of metrics for each worker."""
    return list(folder.glob("image-api-metrics-*/counter_*.db"))


def send_mix(service: ServiceProcess, seed: int) -> Counter[tuple[str, str, str]]:
    """Send 120 requests, each on a new connection, and count the responses."""
    sent: Counter[tuple[str, str, str]] = Counter()
    kinds = [
        ("GET", "/images/a/metadata", "/images/{name}/metadata"),
        ("HEAD", "/images/a", "/images/{name}"),
        ("GET", "/images/none", "/images/{name}"),
        ("GET", "/nowhere", "unmatched"),
        ("DELETE", "/images/none", "/images/{name}"),
    ]
    for number in range(seed, seed + 120):
        method, path, route = kinds[number % len(kinds)]
        with urllib3.PoolManager(retries=False, timeout=30) as pool:
            answer = pool.request(method, service.base_url + path)
        sent[route, method, str(answer.status)] += 1
    return sent


@on_sqlite
def test_workers_add_up(two_workers: ServiceProcess, tmp_path: Path) -> None:
    """Either of two workers returns the exact sum of the requests to both.

    The counts of a killed worker are kept, and its files are removed.
    """
    with httpx.Client(base_url=two_workers.base_url) as client:
        upload(client, pictures.png(), name="a")
    total: Counter[tuple[str, str, str]] = Counter({("/images", "POST", "201"): 1})

    def all_counted() -> bool:
        return sum(requests_by(scrape(two_workers.base_url)).values()) >= total.total()

    def check() -> None:
        wait_until(all_counted, timeout=10, what="the counts of the other worker")
        for _ in range(8):  # separate connections, so that both workers answer
            metrics = scrape(two_workers.base_url)
            assert requests_by(metrics) == total
            durations = metrics.series("image_api_request_duration_seconds_count")
            by_route = Counter[tuple[str, str]]()
            for labels, value in durations:
                by_route[labels["route"], labels["method"]] += int(value)
            for route, method in {key[:2] for key in total}:
                expected = sum(n for key, n in total.items() if key[:2] == (route, method))
                assert by_route[route, method] == expected

    for _ in range(2):
        with ThreadPoolExecutor(4) as threads:
            for sent in threads.map(lambda seed: send_mix(two_workers, seed), range(4)):
                total += sent
        check()
        worker = next(pid for pid in two_workers.pids() if is_worker(pid, two_workers.pid))
        os.kill(worker, signal.SIGKILL)
        wait_until(
            lambda gone=worker: gone not in two_workers.pids(),  # type: ignore[misc]
            timeout=20,
            what="the worker's end",
        )
        wait_until(lambda: is_served(two_workers), timeout=30, what="a new worker")
    assert len(workers_of(tmp_path)) == 2


def is_worker(pid: int, supervisor: int) -> bool:
    """Return whether the process is a worker of this uvicorn supervisor."""
    with suppress(OSError):
        stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        command = Path(f"/proc/{pid}/cmdline").read_text()
        return int(stat[1]) == supervisor and "spawn_main" in command
    return False


def is_served(service: ServiceProcess) -> bool:
    """Return whether two workers of the service are running."""
    return len([pid for pid in service.pids() if is_worker(pid, service.pid)]) == 2


@on_sqlite
def test_services_do_not_mix(service_environment: dict[str, str], tmp_path: Path) -> None:
    """Two services on one host keep separate metrics; files of a killed one are removed."""
    environment = service_environment | {"TMPDIR": str(tmp_path)}
    with ServiceProcess(environment) as first, ServiceProcess(environment) as second:
        send_mix(first, 0)
        metrics = scrape(second.base_url)
        assert requests_by(metrics) == {}
        assert len(list(tmp_path.glob("image-api-metrics-*"))) == 2
    with ServiceProcess(environment) as third:
        assert len(list(tmp_path.glob("image-api-metrics-*"))) == 1
        folder = next(tmp_path.glob("image-api-metrics-*"))
        assert folder.stat().st_mode & 0o777 == 0o700
        third.terminate()
        assert not list(tmp_path.glob("image-api-metrics-*"))


@on_postgresql
def test_while_all_hang(service_environment: dict[str, str]) -> None:
    """`/metrics` answers while every thread waits for the database, and shows their state."""
    with ExitStack() as stack, ThreadPoolExecutor(50) as threads:
        patient = {"CONNECT_TIMEOUT_SECONDS": "30", "DB_STATEMENT_TIMEOUT_SECONDS": "30"}
        few = {"CONCURRENCY": "1"}
        proxied = ServiceBehindProxies(stack, service_environment | patient | few)
        assert proxied.get("/images/none/metadata").status == 404
        proxied.database.hang()
        asked = proxied.ask_many(threads, 50)

        def full() -> bool:
            metrics = scrape(proxied.url)
            return metrics["image_api_requests_shed_total"] == 18 and (
                metrics["image_api_database_connections", {"state": "in_use"}] >= 3
            )

        wait_until(full, timeout=20, what="an exhausted connection pool")
        metrics = scrape(proxied.url)
        assert metrics["image_api_database_connections", {"state": "limit"}] == 3
        assert metrics["image_api_requests_in_progress"] == 33  # including this scrape
        proxied.database.heal()
        assert {answer.result(timeout=60) for answer in asked} <= {404, 503}
        assert scrape(proxied.url)["image_api_requests_in_progress"] == 1


@on_postgresql
def test_aborted(service_environment: dict[str, str]) -> None:
    """A client that disconnects counts as 499, a body that S3 cuts short as 503."""
    with ExitStack() as stack:
        proxied = ServiceBehindProxies(stack, service_environment)
        picture = pictures.noise_png(20_000_000)
        proxied.upload(picture)
        download = ("/images/{name}", "GET")
        with proxied.connect(b"GET /images/big HTTP/1.1\r\nHost: x\r\n\r\n") as gone:
            gone.recv(1000)
        wait_until(
            lambda: (*download, "499") in requests_by(scrape(proxied.url)), timeout=20, what="a 499"
        )
        assert scrape(proxied.url)["image_api_sent_bytes_total"] < len(picture)
        with proxied.connect(
            b"POST /images HTTP/1.1\r\nHost: x\r\nContent-Length: 300000\r\n"
            b"Content-Type: multipart/form-data; boundary=b\r\n\r\n--b\r\n"
        ):
            pass
        aborted = ("image_api_uploads_total", {"outcome": "aborted"})
        wait_until(lambda: scrape(proxied.url)[aborted] == 1, timeout=20, what="an aborted upload")
        proxied.storage.cut_response_after(5_000_000, when=b"GET /", times=None)
        with suppress(urllib3.exceptions.HTTPError):
            proxied.get("/images/big")
        wait_until(
            lambda: (*download, "503") in requests_by(scrape(proxied.url)), timeout=20, what="a 503"
        )


@on_sqlite
def test_connection_refused(service: ServiceProcess) -> None:
    """A request that is not HTTP is counted as a 400."""
    with socket.create_connection(("127.0.0.1", service.port)) as client:
        client.sendall(b"nonsense\r\n\r\n")
        assert client.recv(12) == b"HTTP/1.1 400"
    metrics = scrape(service.base_url)
    assert requests_by(metrics)["unmatched", "other", "400"] == 1


@on_sqlite
def test_folder_removed(service_environment: dict[str, str], tmp_path: Path) -> None:
    """Without the shared folder a worker returns its own metrics and logs the cause once."""
    environment = service_environment | {"TMPDIR": str(tmp_path)}
    with ServiceProcess(environment) as service:
        send_mix(service, 0)
        before = scrape(service.base_url)
        shutil.rmtree(next(tmp_path.glob("image-api-metrics-*")))
        for _ in range(3):
            after = scrape(service.base_url)
        assert requests_by(after) == requests_by(before)
        assert set(before.values) <= set(after.values)
        assert service.log().count("were removed") == 1
