"""Degraded operation: what the service still does when a dependency or a client fails."""

import gc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import urllib3
from sqlalchemy import event, select, text

from config import Settings
from db import build_engine, build_sessions, fetch, reading
from devstack.databases import through
from devstack.waiting import wait_until
from errors import DatabaseUnavailableError
from services.readiness import ping
from tests.support.fault_proxy import FaultProxy
from tests.support.fault_rig import OLD, Rig, build_rig
from tests.support.pictures import noise_png
from tests.support.service_behind_proxies import ServiceBehindProxies

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

on_postgresql = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
on_both = pytest.mark.parametrize("database_url", ["postgresql", "mariadb"], indirect=True)
HASTY = {"connect_timeout_seconds": 0.5, "db_statement_timeout_seconds": 0.5}
READS = ["/images", "/images/cell", "/images/cell/metadata", "/images/random/metadata"]


@pytest.fixture
def rig(settings: Settings, s3: "S3Client") -> Iterator[Rig]:
    """Run the application behind two proxies in this process, with one image."""
    with ExitStack() as stack:
        rig = build_rig(stack, settings, HASTY, s3)
        rig.put(OLD)
        yield rig


@pytest.fixture
def proxied(service_environment: dict[str, str]) -> Iterator[ServiceBehindProxies]:
    """Run the service behind proxies as a separate process."""
    with ExitStack() as stack:
        yield ServiceBehindProxies(stack, service_environment)


@on_postgresql
@pytest.mark.parametrize("how", ["refuse", "hang"])
def test_storage_down(rig: Rig, how: str) -> None:
    """Without S3 the service answers all requests that need no bytes.

    These are metadata, random, list, HEAD and 304.
    """
    tag = rig.client.get("/images/cell").headers["ETag"]
    getattr(rig.storage, how)()
    rig.storage.close_connections()
    for path in set(READS) - {"/images/cell"}:
        assert rig.client.get(path).status_code == 200, path
    for path in READS:
        assert rig.client.head(path).status_code == 200, path
    assert rig.client.get("/images/cell", headers={"If-None-Match": tag}).status_code == 304
    assert rig.client.get("/health/ready").json()["checks"] == {
        "database": "ok",
        "bucket": "timeout" if how == "hang" else "failed",
    }
    rig.heal()
    assert rig.client.get("/images/cell").content == OLD


@on_both
@pytest.mark.parametrize("how", ["refuse", "hang"])
def test_database_down(rig: Rig, how: str) -> None:
    """Without the database all requests but liveness get 503, and the service recovers with it."""
    assert rig.client.get("/images/cell").status_code == 200
    getattr(rig.database, how)()
    if how == "refuse":
        rig.database.close_connections()
    file = {"file": ("cell.jpg", OLD, "image/jpeg")}
    answers = [rig.client.get(path) for path in [*READS, "/health/ready"]]
    answers += [rig.client.post("/images", files=file), rig.client.delete("/images/cell")]
    assert [answer.status_code for answer in answers] == [503] * len(answers)
    assert rig.client.get("/health/live").status_code == 200
    rig.heal()
    for path in [*READS, "/health/ready"]:
        wait_until(lambda: rig.client.get(path).status_code == 200, timeout=10, what=path)  # noqa: B023


@on_both
def test_database_hung(proxied: ServiceBehindProxies) -> None:
    """64 concurrent requests to a hanging database all get 503, and the service recovers."""
    assert proxied.get("/images/none/metadata").status == 404
    proxied.database.hang()
    with ThreadPoolExecutor(64) as threads:
        asked = proxied.ask_many(threads, 64)
        assert [answer.result(timeout=60) for answer in asked] == [503] * 64
    proxied.database.heal()
    answered = lambda: proxied.get("/images/none/metadata").status == 404  # noqa: E731
    wait_until(answered, timeout=10, what="recovery")


@on_postgresql
def test_timed_out_connections_are_closed(settings: Settings) -> None:
    """A connection attempt that times out is closed immediately, without a garbage collection."""
    with FaultProxy(("127.0.0.1", 1)) as proxy:
        proxy.hang()
        url = through(settings.db_url, proxy.address)
        engine = build_engine(settings.model_copy(update=HASTY | {"db_url": url}))
        gc.disable()
        try:
            before = len(list(Path("/proc/self/fd").iterdir()))
            for _ in range(4):
                with pytest.raises(DatabaseUnavailableError):
                    ping(build_sessions(engine)())
            proxy.close_connections()  # the proxy's ends are file descriptors of this process, too
            assert len(list(Path("/proc/self/fd").iterdir())) <= before
        finally:
            gc.enable()
            gc.collect()


@pytest.mark.parametrize("database_url", ["postgresql", "mariadb", "mysql"], indirect=True)
def test_silent_while_connecting(settings: Settings) -> None:
    """A server that accepts and sends nothing costs the connect timeout, not the statement's."""
    with FaultProxy(("127.0.0.1", 1)) as proxy:
        proxy.hang()
        url = through(settings.db_url, proxy.address)
        limits = {"connect_timeout_seconds": 0.5, "db_statement_timeout_seconds": 60.0}
        engine = build_engine(settings.model_copy(update=limits | {"db_url": url}))
        with ThreadPoolExecutor(1) as threads:
            asked = threads.submit(ping, build_sessions(engine)())
            try:
                assert isinstance(asked.exception(timeout=10), DatabaseUnavailableError)
            finally:
                proxy.close_connections()


@on_both
def test_slow_statement(settings: Settings) -> None:
    """A slow statement ends at the statement timeout and is not retried."""
    engine = build_engine(settings.model_copy(update=HASTY))
    begun: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda *args: begun.append(args[2]))
    sleep = "pg_sleep(20)" if engine.dialect.name == "postgresql" else "sleep(20)"
    with (
        ThreadPoolExecutor(1) as threads,
        build_sessions(engine)() as session,
    ):
        with reading(session) as connection:
            connection.exec_driver_sql("SELECT 1")
        begun.clear()
        asked = threads.submit(fetch, session, select(text(sleep)), {})
        assert isinstance(asked.exception(timeout=10), DatabaseUnavailableError)
        assert len(begun) <= 1
        with reading(session) as connection:
            assert connection.exec_driver_sql("SELECT 1").scalar() == 1


@on_postgresql
def test_alive_while_the_database_hangs(service_environment: dict[str, str]) -> None:
    """Liveness is answered while all threads wait for the database."""
    patient = {
        "CONNECT_TIMEOUT_SECONDS": "15",
        "DB_STATEMENT_TIMEOUT_SECONDS": "15",
        "CONCURRENCY": "4",
    }
    with ExitStack() as stack, ThreadPoolExecutor(8) as threads:
        proxied = ServiceBehindProxies(stack, service_environment | patient)
        proxied.database.hang()
        asked = proxied.ask_many(threads, 8)
        try:
            wait_until(lambda: proxied.database.connections >= 4, timeout=10, what="4 connections")
            assert proxied.get("/health/live", timeout=5).status == 200
        finally:
            proxied.database.heal()
        assert {answer.result(timeout=60) for answer in asked} <= {404, 503}


@on_postgresql
def test_termination_finishes_requests_in_flight(proxied: ServiceBehindProxies) -> None:
    """After SIGTERM a download in progress is completed, then the process exits."""
    picture = noise_png(3_000_000)
    proxied.upload(picture)
    proxied.storage.throttle(2_000_000, "answer")
    with urllib3.PoolManager(retries=False, timeout=30) as pool:
        begun = pool.request("GET", f"{proxied.url}/images/big", preload_content=False)
        proxied.process._process.terminate()
        assert begun.read() == picture
    assert proxied.process.terminate() in {0, -15}


@on_postgresql
def test_termination_is_bounded(proxied: ServiceBehindProxies) -> None:
    """After SIGTERM stalled clients cannot keep the process alive."""
    proxied.upload(noise_png(20_000_000))
    download = proxied.connect(b"GET /images/big HTTP/1.1\r\nHost: x\r\n\r\n")
    upload = proxied.connect(UPLOAD + b"half")
    with download, upload:
        wait_until(lambda: len(proxied.open_files()) >= 2, timeout=10, what="both clients")
        assert proxied.process.terminate(timeout=20) in {0, -15}


@on_postgresql
def test_readiness_goes_first(service_environment: dict[str, str]) -> None:
    """After SIGTERM readiness fails at once, while the service still answers requests."""
    with ExitStack() as stack:
        proxied = ServiceBehindProxies(stack, service_environment | {"SHUTDOWN_DELAY_SECONDS": "5"})
        proxied.process._process.terminate()
        wait_until(lambda: proxied.get("/health/ready").status == 503, timeout=4, what="a 503")
        assert "shutting down" in str(proxied.get("/health/ready").json())
        assert proxied.get("/images/none/metadata").status == 404


UPLOAD = (
    b"POST /images HTTP/1.1\r\nHost: x\r\nContent-Length: 3000000\r\n"
    b"Content-Type: multipart/form-data; boundary=b\r\n\r\n--b\r\n"
    b'Content-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n'
)


@on_postgresql
@pytest.mark.parametrize("size", [20_000_000, 1_000_000])
def test_client_stops_reading(proxied: ServiceBehindProxies, size: int) -> None:
    """Clients that stop reading are disconnected, and their files and sockets are closed."""
    proxied.upload(noise_png(size))
    request = b"GET /images/big HTTP/1.1\r\nHost: x\r\n\r\n"
    with ExitStack() as stack:
        clients = [stack.enter_context(proxied.connect(request)) for _ in range(20)]
        assert all(client.recv(1) for client in clients)
        assert proxied.get("/images/big/metadata", timeout=20).status == 200
        wait_until(lambda: not proxied.open_files(), timeout=15, what="the clients to be dropped")


@on_postgresql
def test_client_stops_sending(proxied: ServiceBehindProxies) -> None:
    """Clients that stop sending get 408, and their files and sockets are closed."""
    with ExitStack() as stack:
        some = UPLOAD + b"x" * 2_000_000
        clients = [stack.enter_context(proxied.connect(some)) for _ in range(20)]
        assert proxied.get("/images/none/metadata", timeout=20).status == 404
        for client in clients:
            client.settimeout(20)
            assert client.recv(12) == b"HTTP/1.1 408"
        wait_until(lambda: not proxied.open_files(), timeout=15, what="the clients to be dropped")
