"""/health/live answers if the process does; /health/ready also checks database and bucket."""

import os
import re
import signal
from collections.abc import Iterator
from contextlib import ExitStack

import httpx
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import make_url

from config import Settings
from devstack.databases import through
from devstack.service_process import ServiceProcess
from devstack.waiting import wait_until
from services.maintenance.sweeper import Sweeper
from tests.support.fault_proxy import FaultProxy
from tests.support.pictures import png
from tests.support.raw_http import connect, read_answer
from tests.support.uploads import on_sqlite, problem, serving, upload

on_servers = pytest.mark.parametrize("database_url", ["postgresql", "mariadb"], indirect=True)

# Seconds. Far above the readiness check's own time limit.
FOREVER = 300.0


class Proxied:
    """The application with a fault proxy before its database and before its bucket."""

    def __init__(self, settings: Settings, ends: ExitStack) -> None:
        url = make_url(settings.db_url)
        store = int(str(settings.aws_endpoint_url_s3).rpartition(":")[2])
        assert url.host
        assert url.port
        self.database = ends.enter_context(FaultProxy((url.host, url.port)))
        self.bucket = ends.enter_context(FaultProxy(("127.0.0.1", store)))
        self.client = ends.enter_context(
            serving(
                settings,
                db_url=through(settings.db_url, self.database.address),
                aws_endpoint_url_s3=f"http://127.0.0.1:{self.bucket.address[1]}",
                connect_timeout_seconds=FOREVER,
                db_statement_timeout_seconds=FOREVER,
                s3_read_timeout_seconds=FOREVER,
            )
        )
        # Requests that still hang must end before the client closes.
        ends.callback(self.database.close_connections)
        ends.callback(self.bucket.close_connections)

    def assert_not_ready(self, **checks: str) -> None:
        """Check that /health/ready is 503 with these checks, and /health/live is 200."""
        document = problem(self.client.get("/health/ready"), 503, "not_ready")
        assert document["checks"] == checks
        for name, state in checks.items():
            assert (name in document["detail"]) == (state != "ok")
        assert self.client.get("/health/live").json() == {"status": "alive"}

    def assert_ready(self) -> None:
        """Check that /health/ready is 200."""
        answer = self.client.get("/health/ready")
        expected = {"status": "ready", "checks": {"database": "ok", "bucket": "ok"}}
        assert (answer.status_code, answer.json()) == (200, expected)


@pytest.fixture
def proxied(settings: Settings) -> Iterator[Proxied]:
    """Run the application behind fault proxies."""
    with ExitStack() as ends:
        yield Proxied(settings, ends)


def test_ready(client: TestClient) -> None:
    """With database and bucket available the service is ready."""
    answer = client.get("/health/ready")
    expected = {"status": "ready", "checks": {"database": "ok", "bucket": "ok"}}
    assert (answer.status_code, answer.json()) == (200, expected)
    assert client.get("/health/live").json() == {"status": "alive"}


@on_servers
def test_refusing(proxied: Proxied) -> None:
    """A dependency that refuses connections is reported until it is back."""
    proxied.assert_ready()
    for down in ([proxied.database], [proxied.bucket], [proxied.database, proxied.bucket]):
        for proxy in down:
            proxy.refuse()
            proxy.close_connections()
        proxied.assert_not_ready(
            database="failed" if proxied.database in down else "ok",
            bucket="failed" if proxied.bucket in down else "ok",
        )
        for proxy in down:
            proxy.heal()
        proxied.assert_ready()


@on_servers
@pytest.mark.parametrize("silent", ["database", "bucket"])
def test_silent(proxied: Proxied, silent: str) -> None:
    """A dependency that accepts connections and never answers is reported as `timeout`."""
    proxied.assert_ready()
    getattr(proxied, silent).hang()
    proxied.assert_not_ready(**{"database": "ok", "bucket": "ok", silent: "timeout"})


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_silent_for_long(proxied: Proxied) -> None:
    """Repeated checks of a silent database leave the bucket's check `ok`."""
    proxied.assert_ready()
    proxied.database.hang()
    for _ in range(3):
        proxied.assert_not_ready(database="timeout", bucket="ok")


@on_sqlite
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_dead_sweeper(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sweeper that has ended is reported, because only a restart brings it back."""

    def end(_: Sweeper) -> None:
        raise SystemExit

    with serving(settings, sweep_interval_seconds=0.01) as client:
        assert client.get("/health/ready").json()["checks"] == {"database": "ok", "bucket": "ok"}
        monkeypatch.setattr(Sweeper, "sweep", end)
        wait_until(
            lambda: client.get("/health/ready").status_code == 503, timeout=10, what="the alarm"
        )
        checks = problem(client.get("/health/ready"), 503, "not_ready")["checks"]
    assert checks == {"database": "ok", "bucket": "ok", "sweeper": "failed"}


@on_sqlite
def test_wrong_bucket(settings: Settings) -> None:
    """A missing bucket is reported, without its name."""
    with serving(settings, aws_s3_bucket="no-such-bucket") as client:
        document = problem(client.get("/health/ready"), 503, "not_ready")
    assert document["checks"] == {"database": "ok", "bucket": "failed"}
    assert "no-such-bucket" not in str(document)


@on_servers
def test_no_tables(settings: Settings) -> None:
    """A database without the service's tables is reported."""
    url = make_url(settings.db_url)
    empty = url.set(database="postgres" if "postgres" in url.drivername else "mysql")
    with serving(settings, db_url=empty.render_as_string(hide_password=False)) as client:
        document = problem(client.get("/health/ready"), 503, "not_ready")
    assert document["checks"] == {"database": "failed", "bucket": "ok"}


def in_progress(service: ServiceProcess) -> float:
    """Return how many requests the service is handling."""
    metrics = httpx.get(f"{service.base_url}/metrics").text
    found = re.findall(r"^image_api_requests_in_progress\S* (\S+)$", metrics, re.MULTILINE)
    return sum(map(float, found))


@on_sqlite
def test_shutdown_with_waiting_requests(service_environment: dict[str, str]) -> None:
    """Requests that still wait when the shutdown timeout ends get a problem document."""
    store = service_environment["AWS_ENDPOINT_URL_S3"]
    with FaultProxy(("127.0.0.1", int(store.rpartition(":")[2]))) as proxy:
        environment = service_environment | {
            "AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{proxy.address[1]}",
            "S3_READ_TIMEOUT_SECONDS": "60",
            "SHUTDOWN_DELAY_SECONDS": "0",
        }
        arguments = ["--timeout-graceful-shutdown", "1"]
        with ServiceProcess(environment, args=arguments) as service:
            with httpx.Client(base_url=service.base_url) as client:
                assert upload(client, png(), name="a").status_code == 201
            proxy.hang()
            get = b"GET /images/a HTTP/1.1\r\nHost: x\r\n\r\n"
            with ExitStack() as stack:
                waiting = [stack.enter_context(connect(service.port, get)) for _ in range(20)]
                wait_until(
                    lambda: in_progress(service) >= len(waiting), timeout=10, what="all requests"
                )
                os.kill(service.pid, signal.SIGTERM)
                answers = [read_answer(connection) for connection in waiting]
            assert {(answer.status, answer.code) for answer in answers} == {(503, "not_ready")}
            assert {answer.headers["retry-after"] for answer in answers} == {"2"}
            assert {answer.headers["x-request-id"] for answer in answers} != {""}
            wait_until(
                lambda: service.log().count('"status":503') == len(waiting),
                timeout=10,
                what="their lines in the log",
            )
