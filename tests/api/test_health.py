"""Alive means that the process answers; ready, that database and bucket do."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import make_url

from config import Settings
from devstack.databases import through
from devstack.waiting import wait_until
from services.maintenance.sweeper import Sweeper
from tests.support.fault_proxy import FaultProxy
from tests.support.uploads import on_sqlite, problem, serving

on_servers = pytest.mark.parametrize("database_url", ["postgresql", "mariadb"], indirect=True)

# Without the readiness check's own limit, an answer would take this long.
FOREVER = 300.0


class Frail:
    """The application, and between it and its two dependencies a proxy each."""

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
        # What still hangs must end before the client does.
        ends.callback(self.database.close_connections)
        ends.callback(self.bucket.close_connections)

    def fails(self, **checks: str) -> None:
        """Fail unless /health/ready says that exactly these two are as said, and /live is alive."""
        document = problem(self.client.get("/health/ready"), 503, "not_ready")
        assert document["checks"] == checks
        for name, state in checks.items():
            assert (name in document["detail"]) == (state != "ok")
        assert self.client.get("/health/live").json() == {"status": "alive"}

    def works(self) -> None:
        """Fail unless /health/ready says that all is well."""
        answer = self.client.get("/health/ready")
        expected = {"status": "ready", "checks": {"database": "ok", "bucket": "ok"}}
        assert (answer.status_code, answer.json()) == (200, expected)


@pytest.fixture
def frail(settings: Settings) -> Iterator[Frail]:
    """Run the application behind its proxies."""
    with ExitStack() as ends:
        yield Frail(settings, ends)


def test_ready(client: TestClient) -> None:
    """With all parts at work the service is ready."""
    answer = client.get("/health/ready")
    expected = {"status": "ready", "checks": {"database": "ok", "bucket": "ok"}}
    assert (answer.status_code, answer.json()) == (200, expected)
    assert client.get("/health/live").json() == {"status": "alive"}


@on_servers
def test_refusing(frail: Frail) -> None:
    """What refuses connections is named, and only that; once it is back, all is well."""
    frail.works()
    for down in ([frail.database], [frail.bucket], [frail.database, frail.bucket]):
        for proxy in down:
            proxy.refuse()
            proxy.close_connections()
        frail.fails(
            database="failed" if frail.database in down else "ok",
            bucket="failed" if frail.bucket in down else "ok",
        )
        for proxy in down:
            proxy.heal()
        frail.works()


@on_servers
@pytest.mark.parametrize("silent", ["database", "bucket"])
def test_silent(frail: Frail, silent: str) -> None:
    """What accepts and never answers is named within the bounded time."""
    frail.works()
    getattr(frail, silent).hang()
    frail.fails(**{"database": "ok", "bucket": "ok", silent: "timeout"})


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_silent_for_long(frail: Frail) -> None:
    """However often it is asked meanwhile, a silent database does not make the bucket look bad."""
    frail.works()
    frail.database.hang()
    for _ in range(5):
        frail.fails(database="timeout", bucket="ok")


@on_sqlite
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_dead_sweeper(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sweeper that ended is named: nothing but a restart brings it back."""

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
    """A bucket that does not exist is named."""
    with serving(settings, aws_s3_bucket="no-such-bucket") as client:
        document = problem(client.get("/health/ready"), 503, "not_ready")
    assert document["checks"] == {"database": "ok", "bucket": "failed"}
    assert "no-such-bucket" not in str(document)


@on_servers
def test_no_tables(settings: Settings) -> None:
    """A database without our tables is named."""
    url = make_url(settings.db_url)
    empty = url.set(database="postgres" if "postgres" in url.drivername else "mysql")
    with serving(settings, db_url=empty.render_as_string(hide_password=False)) as client:
        document = problem(client.get("/health/ready"), 503, "not_ready")
    assert document["checks"] == {"database": "failed", "bucket": "ok"}
