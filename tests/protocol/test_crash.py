"""kill -9 at every step of the write protocol, and at random moments under load."""

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

OLD, NEW = jpeg(seed=1), jpeg(seed=2)
AT_ONCE = {"upload_grace_seconds": 0, "put_horizon_seconds": 0, "keep_deleted_seconds": 0}
on_postgresql = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)


class Ground:
    """The bucket and the tables after a crash, seen by a service that was started anew."""

    def __init__(self, settings: Settings, engine: Engine, s3: "S3Client") -> None:
        self.settings, self.engine, self.s3 = settings, engine, s3
        self.bucket = Bucket(settings)
        self.sessions = build_sessions(engine)
        inspector = Inspector(settings)
        self.store = ImageStore(self.sessions(), self.bucket, inspector, settings)

    def reset(self, operation: str) -> None:
        """Make the state in which the operation starts."""
        with suppress(ImageNotFoundError):
            self.store.delete("crash", lambda _: None)
        self.sweep()
        if operation == "first":
            return
        if operation == "sweep":
            for state in ("U", "D"):
                self._leave_behind(f"crash-{random.randbytes(8).hex()}.jpg", state)
            self._leave_variant()
        self.store.upload(io.BytesIO(OLD), "crash", "jpg", lambda _: None)

    def _leave_behind(self, key: str, state: str) -> None:
        self.s3.put_object(Bucket=self.settings.aws_s3_bucket, Key=key, Body=NEW)
        insert = "INSERT INTO pending_objects VALUES (:key, :state, '2020-01-01', NULL)"
        with self.engine.begin() as db:
            db.execute(text(insert), {"key": key, "state": state})

    def _leave_variant(self) -> None:
        """Leave a variant behind whose original no image names."""
        key = f"crash-{random.randbytes(8).hex()}.png"
        self.s3.put_object(Bucket=self.settings.aws_s3_bucket, Key=key, Body=NEW)
        record = variants.VariantRecord(
            *("gone", "160.png", key, len(NEW), "image/png", "0" * 64, 1, 1, datetime.now(UTC))
        )
        with self.engine.begin() as db:
            variants.insert_variant(db, record)

    def image(self) -> bytes | None:
        """Return the bytes of the image `crash`, as a client gets them."""
        with self.engine.connect() as db:
            key = db.scalar(text("SELECT s3_key FROM images WHERE name = 'crash'"))
        if key is None:
            return None
        return self.s3.get_object(Bucket=self.settings.aws_s3_bucket, Key=key)["Body"].read()

    def sweep(self) -> None:
        """Sweep without patience; then no object is left that no row names, and no entry."""
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
        """No row is without its object, no object without a row or an entry."""
        assert not violations(self.engine, self.s3, self.settings.aws_s3_bucket)

    def check(self) -> None:
        """Compare, sweep, and see that nothing was lost."""
        self.compare()
        before = self.image()
        self.sweep()
        assert self.image() == before


@pytest.fixture
def ground(settings: Settings, s3: "S3Client") -> Iterator[Ground]:
    """Return the ground on which services crash."""
    engine = build_engine(settings)
    ground = Ground(settings, engine, s3)
    yield ground
    ground.bucket.close()
    engine.dispose()


class Ended(NamedTuple):
    """How a use case in a process of its own ended."""

    status: int
    acknowledged: bool
    steps: list[str]


class Forks:
    """Runs use cases, each in a process that may die at a step: see crashing_service.py."""

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
        """Run the use case; it dies at the step, or records all of its steps."""
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
        raise AssertionError("the server of forks has ended")

    def close(self) -> None:
        """End the server."""
        assert self._server.stdin
        assert self._server.stdout
        self._server.stdin.close()
        self._server.wait(timeout=30)
        self._server.stdout.close()


@pytest.fixture
def forks(service_environment: dict[str, str], tmp_path: Path) -> Iterator[Forks]:
    """Return what runs use cases that die."""
    picture = tmp_path / "new.jpg"
    picture.write_bytes(NEW)
    forks = Forks(service_environment, picture)
    yield forks
    forks.close()


BEFORE = {"first": None, "overwrite": OLD, "delete": OLD, "sweep": OLD, "variant": OLD}
AFTER = {"first": NEW, "overwrite": NEW, "delete": None, "sweep": OLD, "variant": OLD}
KILLS = {"first": 18, "overwrite": 26, "delete": 14, "sweep": 20, "variant": 16}  # at least so many


@on_postgresql
@pytest.mark.parametrize("operation", list(KILLS))
def test_killed_at_every_step(ground: Ground, forks: Forks, operation: str) -> None:
    """Wherever it is killed: what was acknowledged is there, and a sweep leaves nothing over."""
    ground.reset(operation)
    whole = forks.run(operation, "record")
    assert whole.status == 0
    assert ground.image() == AFTER[operation]
    assert len(whole.steps) >= KILLS[operation]
    assert {step.split()[0] for step in whole.steps} <= STEPS.keys()
    for step in whole.steps:
        ground.reset(operation)
        ended = forks.run(operation, step)
        assert ended.status == -9, f"it was to die at {step}"
        allowed = [AFTER[operation], *([] if ended.acknowledged else [BEFORE[operation]])]
        assert ground.image() in allowed, f"killed at {step}"
        ground.check()


KILLED_BY_REQUEST = [
    ("first", "commit 2 before", None),
    ("overwrite", "commit 2 after", NEW),
    ("delete", "commit 1 after", None),
]


@on_postgresql
@pytest.mark.parametrize(("operation", "step", "after"), KILLED_BY_REQUEST)
def test_service_killed_at_a_step(
    ground: Ground,
    service_environment: dict[str, str],
    operation: str,
    step: str,
    after: bytes | None,
) -> None:
    """The same with the whole service: its client sees a lost connection, a new one serves."""
    ground.reset(operation)
    with ServiceProcess(
        {**service_environment, "CRASH_AT": step}, application="tests.tools.crashing_service:app"
    ) as crashing:
        with pytest.raises(urllib3.exceptions.ProtocolError):
            act(crashing.base_url, "crash", None if operation == "delete" else NEW)
        assert crashing._process.wait(timeout=30) == -9
    with ServiceProcess(service_environment) as anew:
        assert download(anew.base_url, "crash") == after
        ground.check()
        act(anew.base_url, "crash", NEW)
        assert download(anew.base_url, "crash") == NEW


@on_postgresql
@pytest.mark.parametrize("rounds", [5, pytest.param(200, marks=pytest.mark.soak)])
def test_killed_under_load(ground: Ground, service: ServiceProcess, rounds: int) -> None:
    """Killed at random moments under load: nothing acknowledged is lost, nothing left over."""
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
        ground.compare()
        for writer in writers:
            writer.check(service)
    # Not each time: a PUT of a killed process may land after a sweep that has no horizon.
    ground.check()
