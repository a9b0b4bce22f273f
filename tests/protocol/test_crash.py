"""SIGKILL at every step of the write protocol, and at random moments under load."""

import io
import json
import random
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
import urllib3
from sqlalchemy import Engine, text

from config import Settings
from db import build_engine, build_sessions
from devstack.service_process import ROOT, ServiceProcess
from errors import ImageNotFoundError
from repositories import variants
from s3_client import Bucket
from services.image_store import ImageStore
from services.inspection import Inspector
from services.maintenance.sweeper import Sweeper
from tests.support.invariants import violations
from tests.support.pictures import jpeg
from tests.support.writers import Writer, act, download
from tests.tools.crashing_service import STEPS

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

OLD = jpeg(seed=1)
NEW = jpeg(2000, 1500, seed=2, quality=100)  # large enough to be sent from a file
AT_ONCE = {"upload_grace_seconds": 0, "put_horizon_seconds": 0, "keep_deleted_seconds": 0}
on_postgresql = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)


class Backends:
    """The bucket and the tables after a crash, as a newly started service finds them."""

    def __init__(self, settings: Settings, engine: Engine, s3: "S3Client") -> None:
        self.settings, self.engine, self.s3 = settings, engine, s3
        self.bucket = Bucket(settings)
        self.sessions = build_sessions(engine)
        inspector = Inspector(settings)
        self.store = ImageStore(self.sessions(), self.bucket, inspector, settings)

    def reset(self, operation: str) -> None:
        """Create the state in which the operation starts."""
        with suppress(ImageNotFoundError):
            self.store.delete("crash", lambda _: None)
        self.sweep()
        if operation == "first":
            return
        if operation == "sweep":
            for state in ("U", "D"):
                self._plant_entry(f"crash-{random.randbytes(8).hex()}.jpg", state)
        stored = self.store.upload(io.BytesIO(OLD), "crash", "jpg", lambda _: None)
        if operation != "variant":
            self._plant_variant(stored.image.s3_key)

    def _plant_entry(self, key: str, state: str) -> None:
        self.s3.put_object(Bucket=self.settings.aws_s3_bucket, Key=key, Body=NEW)
        insert = "INSERT INTO pending_objects VALUES (:key, :state, '2020-01-01', NULL)"
        with self.engine.begin() as db:
            db.execute(text(insert), {"key": key, "state": state})

    def _plant_variant(self, original: str) -> None:
        """Insert a variant of the object `original`."""
        key = f"crash-{random.randbytes(8).hex()}.png"
        self.s3.put_object(Bucket=self.settings.aws_s3_bucket, Key=key, Body=NEW)
        record = variants.VariantRecord(
            *(original, "160.png", key, len(NEW), "image/png", "0" * 64, 1, 1, datetime.now(UTC))
        )
        with self.engine.begin() as db:
            variants.insert_variant(db, record)

    def image(self) -> bytes | None:
        """Return the bytes of the image `crash`, or None if it does not exist."""
        with self.engine.connect() as db:
            key = db.scalar(text("SELECT s3_key FROM images WHERE name = 'crash'"))
        if key is None:
            return None
        return self.s3.get_object(Bucket=self.settings.aws_s3_bucket, Key=key)["Body"].read()

    def sweep(self) -> None:
        """Sweep without delays; assert that every object has a row and the journal is empty."""
        settings = self.settings.model_copy(update=AT_ONCE)
        for _ in range(2):
            Sweeper(self.sessions, self.bucket, settings).sweep()
        with self.engine.connect() as db:
            assert db.scalar(text("SELECT count(*) FROM pending_objects")) == 0
            both = text("SELECT s3_key FROM images UNION SELECT s3_key FROM variants")
            rows = set(db.scalars(both))
        listed = self.s3.list_objects_v2(Bucket=self.settings.aws_s3_bucket).get("Contents", [])
        assert {entry["Key"] for entry in listed} == rows

    def compare(self) -> None:
        """Assert that the invariants of the write protocol hold."""
        assert not violations(self.engine, self.s3, self.settings.aws_s3_bucket)

    def check(self) -> None:
        """Check the invariants, sweep, and assert that the sweep did not change the image."""
        self.compare()
        before = self.image()
        self.sweep()
        assert self.image() == before


@pytest.fixture
def backends(settings: Settings, s3: "S3Client") -> Iterator[Backends]:
    """Return the backends of the services that crash."""
    engine = build_engine(settings)
    backends = Backends(settings, engine, s3)
    yield backends
    backends.bucket.close()
    engine.dispose()


class Ended(NamedTuple):
    """How the process of a use case ended."""

    status: int
    acknowledged: bool
    steps: list[str]


class Forks:
    """Runs use cases, each in a forked process that may die at a step."""

    def __init__(self, environment: dict[str, str], picture: Path) -> None:
        self._order = {"environment": environment, "picture": str(picture)}
        self._server = subprocess.Popen(
            [sys.executable, "-m", "tests.tools.crashing_service"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )

    def run(self, operation: str, step: str) -> Ended:
        """Run the use case; it dies at `step`, or records all steps if that is "record"."""
        assert self._server.stdin
        assert self._server.stdout
        use_case = "upload" if operation in {"first", "overwrite"} else operation
        order = self._order | {"operation": use_case, "step": step}
        print(json.dumps(order), file=self._server.stdin, flush=True)
        steps, acknowledged = [], False
        for line in self._server.stdout:
            word, _, rest = line.strip().partition(" ")
            acknowledged |= word == "acknowledged"
            if word == "step":
                steps.append(rest)
            if word == "ended":
                return Ended(int(rest), acknowledged, steps)
        raise AssertionError("the process that forks has ended")

    def close(self) -> None:
        """End the process that forks."""
        assert self._server.stdin
        assert self._server.stdout
        self._server.stdin.close()
        self._server.wait(timeout=30)
        self._server.stdout.close()


@pytest.fixture
def forks(service_environment: dict[str, str], tmp_path: Path) -> Iterator[Forks]:
    """Return a runner for use cases that die at a step."""
    picture = tmp_path / "new.jpg"
    picture.write_bytes(NEW)
    forks = Forks(service_environment, picture)
    yield forks
    forks.close()


BEFORE = {"first": None, "overwrite": OLD, "delete": OLD, "sweep": OLD, "variant": OLD}
AFTER = {"first": NEW, "overwrite": NEW, "delete": None, "sweep": OLD, "variant": OLD}
PUT_READS = 6  # of about 100: two for the signature, then those that are sent
KILLS = {"first": 18, "overwrite": 30, "delete": 18, "sweep": 12, "variant": 14}  # minimum of steps


@on_postgresql
@pytest.mark.parametrize("operation", list(KILLS))
def test_killed_at_every_step(backends: Backends, forks: Forks, operation: str) -> None:
    """A kill at any step loses no acknowledged write, and a sweep removes all orphans."""
    backends.reset(operation)
    whole = forks.run(operation, "record")
    assert whole.status == 0
    assert backends.image() == AFTER[operation]
    assert len(whole.steps) >= KILLS[operation]
    assert {step.split()[0] for step in whole.steps} <= STEPS.keys()
    for step in whole.steps:
        if step.startswith("put_read") and int(step.split()[1]) > PUT_READS:
            continue
        backends.reset(operation)
        ended = forks.run(operation, step)
        assert ended.status == -9, f"the process did not die at {step}"
        allowed = [AFTER[operation], *([] if ended.acknowledged else [BEFORE[operation]])]
        assert backends.image() in allowed, f"killed at {step}"
        backends.check()


KILLED_BY_REQUEST = [
    ("first", "commit 2 before", None),
    ("overwrite", "commit 2 after", NEW),
    ("delete", "commit 1 after", None),
]


@on_postgresql
@pytest.mark.parametrize(("operation", "step", "after"), KILLED_BY_REQUEST)
@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_service_killed_at_a_step(
    backends: Backends,
    service_environment: dict[str, str],
    method: str,
    operation: str,
    step: str,
    after: bytes | None,
) -> None:
    """A service killed in a request drops the connection, and its successor has correct data."""
    backends.reset(operation)
    with ServiceProcess(
        {**service_environment, "CRASH_AT": step}, application="tests.tools.crashing_service:app"
    ) as crashing:
        with pytest.raises(urllib3.exceptions.ProtocolError):
            act(crashing.base_url, "crash", None if operation == "delete" else NEW, method)
        assert crashing._process.wait(timeout=30) == -9
    with ServiceProcess(service_environment) as successor:
        assert download(successor.base_url, "crash") == after
        backends.check()
        act(successor.base_url, "crash", NEW, method)
        assert download(successor.base_url, "crash") == NEW


@on_postgresql
@pytest.mark.parametrize("rounds", [5, pytest.param(200, marks=pytest.mark.soak)])
def test_killed_under_load(backends: Backends, service: ServiceProcess, rounds: int) -> None:
    """Kills at random moments under load lose no acknowledged write and leave no orphans."""
    writers = [Writer(number) for number in range(6)]
    for _ in range(rounds):
        acknowledged = threading.Semaphore(0)
        with ThreadPoolExecutor(len(writers)) as threads:
            working = [threads.submit(writer.write, service, acknowledged) for writer in writers]
            for _ in range(random.randint(5, 40)):
                assert acknowledged.acquire(timeout=30)
            service.kill()
        for work in working:
            work.result()
        service.start()
        backends.compare()
        for writer in writers:
            writer.check(service)
    # Only at the end: a PUT of a killed process may land after a sweep without a horizon.
    backends.check()
