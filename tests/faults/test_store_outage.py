"""The object store is killed or freezes under load: 503 until it returns, and nothing is lost."""

import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Self

import pytest
import urllib3

from devstack.juicefs import juicefs
from devstack.object_store import StoreProcess
from devstack.seaweedfs import seaweedfs
from devstack.service_process import ServiceProcess
from devstack.waiting import wait_until
from tests.support.pictures import jpeg
from tests.support.writers import Writer, act

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

WRITES = 30
KEPT = jpeg(seed=1)
HASTY = {
    "CONNECT_TIMEOUT_SECONDS": "1",
    "S3_READ_TIMEOUT_SECONDS": "1",
    "S3_PUT_TIMEOUT_SECONDS": "2",
}
on_postgresql = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)


class RestartableStore:
    """A store that can be killed, restarted with the same data and port, and frozen."""

    def __init__(
        self, run: Callable[..., AbstractContextManager[StoreProcess]], folder: Path
    ) -> None:
        self._run, self._folder = run, folder
        self._port: int | None = None
        self.start()

    def start(self) -> None:
        """Start the store and wait until it serves requests."""
        self._ends = ExitStack()
        self.running = self._ends.enter_context(self._run(self._folder, port=self._port))
        self._port = int(self.running.endpoint_url.rpartition(":")[2])

    def kill(self) -> None:
        """Kill the process; data that the kernel has buffered survives."""
        self.running.process.kill()
        self._ends.close()

    def freeze(self) -> None:
        """Suspend the process: it accepts connections but does not respond."""
        self.running.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Resume the process."""
        self.running.process.send_signal(signal.SIGCONT)


@pytest.fixture(params=[seaweedfs, juicefs])
def restartable(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RestartableStore]:
    """Run a store that the test may kill, with a bucket `images`."""
    store = RestartableStore(request.param, tmp_path)
    store.running.create_bucket("images")
    yield store
    store.kill()


# Override the shared fixtures, so that the invariants are checked on this store.


@pytest.fixture
def object_store(restartable: RestartableStore) -> StoreProcess:
    """Return the store's first process."""
    return restartable.running


@pytest.fixture
def s3(object_store: StoreProcess) -> Iterator["S3Client"]:
    """Return a boto3 client with direct access to the bucket."""
    client = object_store.client()
    yield client
    client.close()


@pytest.fixture
def bucket() -> str:
    """Return the name of the bucket."""
    return "images"


class Load:
    """Clients that write and read while the block runs, and accept 503 responses."""

    def __init__(self, service: ServiceProcess) -> None:
        self.service = service
        self.acknowledged, self.refused = threading.Semaphore(0), threading.Semaphore(0)
        self.writers = [Writer(number) for number in range(4)]
        self._stop = threading.Event()
        self._threads = ThreadPoolExecutor(6)

    def __enter__(self) -> Self:
        assert act(self.service.base_url, "kept", KEPT) in {200, 201}
        self._work = [
            self._threads.submit(one.write_until, self._stop, self.service, self.acknowledged)
            for one in self.writers
        ]
        self._work += [self._threads.submit(self._read) for _ in range(2)]
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._threads.shutdown()

    def _read(self) -> None:
        while not self._stop.is_set():
            url = f"{self.service.base_url}/images/kept"
            answer = urllib3.request("GET", url, retries=False, timeout=30)
            if answer.status == 503:
                self.refused.release()
            else:
                assert (answer.status, answer.data) == (200, KEPT)

    def check(self) -> None:
        """Assert that no acknowledged write is lost and that 503 was the only error."""
        for work in self._work:
            work.result()
        for writer in self.writers:
            writer.check(self.service)
        for alarm in ("internal_error", "image_lost"):
            assert alarm not in self.service.log()


def survive(service: ServiceProcess, strike: Callable[[], None], heal: Callable[[], None]) -> None:
    """Run clients, `strike` until they get 503, `heal`, and assert that uploads work again."""
    with Load(service) as load:
        for _ in range(WRITES):
            assert load.acknowledged.acquire(timeout=30)
        strike()
        for _ in range(4):
            assert load.refused.acquire(timeout=60)
        assert act(service.base_url, "after", KEPT) == 503
        heal()
        uploaded = lambda: act(service.base_url, "after", KEPT) in {200, 201}  # noqa: E731
        wait_until(uploaded, timeout=10, what="uploads after the outage")
        while load.acknowledged.acquire(blocking=False):
            pass  # writes before the outage
        for _ in range(WRITES):
            assert load.acknowledged.acquire(timeout=30)
    load.check()


@on_postgresql
@pytest.mark.parametrize("times", [1, pytest.param(20, marks=pytest.mark.soak)])
def test_killed(
    restartable: RestartableStore, service_environment: dict[str, str], times: int
) -> None:
    """A store that is killed and restarted costs 503 responses and nothing else."""
    with ServiceProcess(service_environment | HASTY) as service:
        for _ in range(times):
            survive(service, restartable.kill, restartable.start)


@on_postgresql
def test_frozen(restartable: RestartableStore, service_environment: dict[str, str]) -> None:
    """A store that freezes costs 503 responses; PUTs that land late are in the journal."""
    with ServiceProcess(service_environment | HASTY) as service:
        survive(service, restartable.freeze, restartable.thaw)


@on_postgresql
@pytest.mark.soak
def test_frozen_for_long(
    restartable: RestartableStore, service_environment: dict[str, str]
) -> None:
    """A store that freezes for half a minute costs 503 responses, with a PUT timeout of 20 s."""

    def thaw() -> None:
        threading.Event().wait(30)
        restartable.thaw()

    with ServiceProcess(service_environment | {"S3_PUT_TIMEOUT_SECONDS": "20"}) as service:
        survive(service, restartable.freeze, thaw)
