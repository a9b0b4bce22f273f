"""The database fails over in mid-load: killed and restarted, or moved to another address."""

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


class World:
    """A database on that server, a bucket, and clients that write."""

    def __init__(self, server: PrivateServer, bucket: str, store: ObjectStore) -> None:
        self.server, self.bucket, self._store = server, bucket, store
        self._name = f"test_{secrets.token_hex(6)}"
        server.execute(f"CREATE DATABASE {self._name}")
        create_tables(Settings(db_url=self.url, aws_region="none", aws_s3_bucket="none"))
        self.writers = [Writer(number, names=40) for number in range(6)]

    @property
    def url(self) -> str:
        """The URL of the database, where the server is now."""
        return make_url(self.server.url).set(database=self._name).render_as_string()

    def environment(self, url: str) -> dict[str, str]:
        """Return the variables of a service that finds the database by that URL."""
        hasty = {"CONNECT_TIMEOUT_SECONDS": "1", "DB_STATEMENT_TIMEOUT_SECONDS": "2"}
        here = {"DB_URL": url, "AWS_S3_BUCKET": self.bucket, "SWEEP_INTERVAL_SECONDS": "0.5"}
        return {**self._store.environment(), **here, **hasty}

    def fail_over(self, service: ServiceProcess, event: Callable[[], None]) -> None:
        """Let it happen while clients write; return when writes have been acknowledged again."""
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
                    pass  # of before
                for _ in range(WRITES):
                    assert acknowledged.acquire(timeout=RESUMED_SECONDS), service.log()[-3000:]
            finally:
                stop.set()
        for work in working:
            work.result()

    def check(self, service: ServiceProcess, s3: "S3Client") -> None:
        """Nothing acknowledged is lost, no row dangles, no object is orphaned."""
        for writer in self.writers:
            writer.check(service)
        engine = engine_for(self.url)
        assert not violations(engine, s3, self.bucket)
        engine.dispose()
        assert "internal_error" not in service.log()


@pytest.fixture
def world(server: PrivateServer, bucket: str, object_store: ObjectStore) -> World:
    """Return an empty world."""
    return World(server, bucket, object_store)


def test_restart(world: World, s3: "S3Client") -> None:
    """A server that is killed and restarted under load costs 503s and nothing else."""
    with ServiceProcess(world.environment(world.url)) as service:
        world.fail_over(service, world.server.restart)
        world.check(service, s3)


def test_moved(world: World, s3: "S3Client") -> None:
    """The same when another host is behind the URL afterwards, and nobody answers meanwhile."""
    with FaultProxy(world.server.address) as proxy:

        def move() -> None:
            proxy.hang()
            world.server.move()
            proxy.target = world.server.address
            proxy.close_connections()
            proxy.heal()

        with ServiceProcess(world.environment(through(world.url, proxy.address))) as service:
            world.fail_over(service, move)
            world.check(service, s3)
