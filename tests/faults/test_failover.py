"""A database failover under load: the server is restarted, or moves to another address."""

import secrets
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import make_url

from config import Settings
from devstack.databases import engine_for, through
from devstack.object_store import ObjectStore
from devstack.service_process import ServiceProcess
from scripts.create_tables import create_tables
from tests.support.fault_proxy import FaultProxy
from tests.support.invariants import violations
from tests.support.private_servers import KINDS, PrivateServer, private_server
from tests.support.writers import Writer

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

WRITES = 20
RESUMED_SECONDS = 10


@pytest.fixture(scope="module", params=KINDS)
def server(request: pytest.FixtureRequest) -> Iterator[PrivateServer]:
    """Return a server that the tests may kill."""
    with private_server(request.param, own_ca=False) as server:
        yield server


class Failover:
    """A database on a private server, a bucket, and clients that write during the failover."""

    def __init__(self, server: PrivateServer, bucket: str, store: ObjectStore) -> None:
        self.server, self.bucket, self._store = server, bucket, store
        self._name = f"test_{secrets.token_hex(6)}"
        server.execute(f"CREATE DATABASE {self._name}")
        create_tables(Settings(db_url=self.url, aws_region="none", aws_s3_bucket="none"))
        self.writers = [Writer(number, names=40) for number in range(6)]

    @property
    def url(self) -> str:
        """The URL of the database at the server's current address."""
        return make_url(self.server.url).set(database=self._name).render_as_string()

    def environment(self, url: str) -> dict[str, str]:
        """Return the environment of a service that uses this database URL."""
        hasty = {"CONNECT_TIMEOUT_SECONDS": "1", "DB_STATEMENT_TIMEOUT_SECONDS": "2"}
        here = {"DB_URL": url, "AWS_S3_BUCKET": self.bucket, "SWEEP_INTERVAL_SECONDS": "0.5"}
        return {**self._store.environment(), **here, **hasty}

    def run(self, service: ServiceProcess, event: Callable[[], None]) -> None:
        """Call `event` while clients write; return once writes are acknowledged again."""
        stop, acknowledged = threading.Event(), threading.Semaphore(0)
        with ThreadPoolExecutor(len(self.writers)) as threads:
            working = [
                threads.submit(writer.write_until, stop, service, acknowledged)
                for writer in self.writers
            ]
            try:
                for _ in range(WRITES):
                    assert acknowledged.acquire(timeout=30), service.log()[-3000:]
                event()
                while acknowledged.acquire(blocking=False):
                    pass  # writes before the event
                for _ in range(WRITES):
                    assert acknowledged.acquire(timeout=RESUMED_SECONDS), service.log()[-3000:]
            finally:
                stop.set()
        for work in working:
            work.result()

    def check(self, service: ServiceProcess, s3: "S3Client") -> None:
        """Assert that no acknowledged write is lost and that the invariants hold."""
        for writer in self.writers:
            writer.check(service)
        engine = engine_for(self.url)
        assert not violations(engine, s3, self.bucket)
        engine.dispose()
        assert "internal_error" not in service.log()


@pytest.fixture
def failover(server: PrivateServer, bucket: str, object_store: ObjectStore) -> Failover:
    """Return a new database and clients that have not written yet."""
    return Failover(server, bucket, object_store)


def test_restart(failover: Failover, s3: "S3Client") -> None:
    """A database that is killed and restarted under load costs 503 responses and nothing else."""
    with ServiceProcess(failover.environment(failover.url)) as service:
        failover.run(service, failover.server.restart)
        failover.check(service, s3)


def test_moved(failover: Failover, s3: "S3Client") -> None:
    """A database that hangs and returns at another address costs 503 responses and nothing else."""
    with FaultProxy(failover.server.address) as proxy:

        def move() -> None:
            proxy.hang()
            failover.server.move()
            proxy.target = failover.server.address
            proxy.close_connections()
            proxy.heal()

        with ServiceProcess(failover.environment(through(failover.url, proxy.address))) as service:
            failover.run(service, move)
            failover.check(service, s3)
