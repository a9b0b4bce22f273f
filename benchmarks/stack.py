"""The servers under load: databases of any size, a store, the service, its peers, and `bare`."""

import os
import re
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from sqlalchemy import text

from benchmarks import peers
from config import Settings
from devstack.databases import connection, fresh_database
from devstack.object_store import ObjectStore
from devstack.postgresql import postgres
from devstack.seaweedfs import seaweedfs
from devstack.server_process import ServerProcess
from devstack.service_process import ServiceProcess
from scripts.create_tables import create_tables

OURS = "ours"
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")

_FILL = """
INSERT INTO images (id, name, size_bytes, extension, content_type, sha256, width, height, s3_key,
                    created_at, last_updated_at)
SELECT i, CONCAT('img-', LPAD({text}, 7, '0')), 1000, 'jpg', 'image/jpeg', REPEAT('0123abcd', 8),
       40, 30, CONCAT('absent-', i), {moment}, {moment}
FROM {numbers}
"""
# Names count from 0 but ids from 1, because MariaDB replaces the id 0 by the next free one.
_DIALECTS = {
    "postgresql": {
        "text": "CAST(i - 1 AS varchar)",
        "moment": "timestamptz '2026-01-01 00:00:00Z' + i * interval '1 second'",
        "numbers": "generate_series(1, {images}) AS numbers (i)",
    },
    "mariadb": {
        "text": "i - 1",
        "moment": "TIMESTAMP '2026-01-01 00:00:00' + INTERVAL i SECOND",
        "numbers": "(SELECT seq AS i FROM seq_1_to_{images}) AS numbers",
    },
}
_FINISH = {
    "postgresql": [
        "SELECT setval(pg_get_serial_sequence('images', 'id'), {images})",
        "VACUUM ANALYZE images",
        "CHECKPOINT",
    ],
    "mariadb": ["ANALYZE TABLE images"],
}


@dataclass(frozen=True)
class Setting:
    """The service or one of its peers, and its setting."""

    engine: str = "postgresql"
    images: int = 1000  # in the table at the start
    workers: int = 1
    inspection: str = "header"
    access_log: bool = False
    service: str = OURS


class Stack:
    """Starts servers on demand until `ends` closes; a service ends with its block."""

    def __init__(self, ends: ExitStack) -> None:
        self._ends = ends
        folder = ends.enter_context(tempfile.TemporaryDirectory(prefix="benchmarks-"))
        self.store: ObjectStore = ends.enter_context(seaweedfs(Path(folder)))
        self.s3 = self.store.client()
        self._servers = {"postgresql": ends.enter_context(postgres(os.environ.get("TEST_DB_URL")))}
        if url := os.environ.get("TEST_MARIADB_URL"):
            self._servers["mariadb"] = url
        self._databases: dict[tuple[str, int], str] = {}

    def engines(self) -> list[str]:
        """Return the available kinds of databases."""
        return list(self._servers)

    def database(self, engine: str, images: int) -> str:
        """Return the URL of the database that started with so many images."""
        wanted = engine, images
        if wanted not in self._databases:
            url = self._ends.enter_context(fresh_database(self._servers[engine]))
            create_tables(Settings(db_url=url, aws_region="none", aws_s3_bucket="none"))
            if images:
                _fill(url, engine, images)
            self._databases[wanted] = url
        return self._databases[wanted]

    def server_version(self, engine: str) -> str:
        """Return the version of a database server."""
        with connection(self._servers[engine]) as db:
            return ".".join(map(str, db.dialect.server_version_info or ()))

    @contextmanager
    def bucket(self) -> Iterator[str]:
        """Yield the name of a new bucket; empty and delete it afterwards."""
        name = f"bench-{uuid4().hex[:12]}"
        self.s3.create_bucket(Bucket=name)
        yield name
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=name)
        for keys in [[entry["Key"] for entry in page.get("Contents", [])] for page in pages]:
            if keys:
                self.s3.delete_objects(
                    Bucket=name, Delete={"Objects": [{"Key": key} for key in keys], "Quiet": True}
                )
        self.s3.delete_bucket(Bucket=name)

    @contextmanager
    def service(self, url: str, bucket: str, setting: Setting) -> Iterator[ServerProcess]:
        """Run the service or the peer."""
        with self._process(url, bucket, setting) as process:
            try:
                if setting.service == peers.PLAIN:
                    peers.fill_plain(url)
                yield process
            except Exception as error:
                error.add_note(process.log()[-4000:])
                raise

    def _process(self, url: str, bucket: str, setting: Setting) -> ServerProcess:
        environment = self.store.environment() | {"DB_URL": url, "AWS_S3_BUCKET": bucket}
        if setting.service != OURS:
            return peers.PEERS[setting.service](environment)
        environment |= {"INSPECTION": setting.inspection, "ACCESS_LOG": str(setting.access_log)}
        environment["VARIANT_FORMATS"] = "jpg,png,webp,avif"
        return ServiceProcess(environment, args=["--no-access-log"], workers=setting.workers)


def _fill(url: str, engine: str, images: int) -> None:
    """Insert rows `img-0000000` and so on; their objects do not exist."""
    parts = {key: part.format(images=images) for key, part in _DIALECTS[engine].items()}
    with connection(url) as db:
        for statement in [_FILL.format(**parts), *_FINISH[engine]]:
            db.execute(text(statement.format(images=images)))


def cpu_seconds(process: ServerProcess) -> float:
    """Return the user and system time of all processes of the service, ended ones included."""
    ticks = 0
    for pid in process.pids():
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += sum(map(int, fields[11:15]))  # proc_pid_stat(5): own, and of ended children
    return ticks / _TICKS_PER_SECOND


def context_switches(process: ServerProcess) -> Counter[int]:
    """Return the number of context switches of each thread of the service, by thread id."""
    found: Counter[int] = Counter()
    for pid in process.pids():
        for status in Path(f"/proc/{pid}/task").glob("*/status"):  # proc_pid_status(5)
            with suppress(OSError):  # the thread ended
                counts = re.findall("ctxt_switches:\\s+(\\d+)", status.read_text())
                found[int(status.parent.name)] = sum(map(int, counts))
    return found


def settle(process: ServerProcess, *, timeout: float = 5) -> None:
    """Wait until the service is idle."""
    deadline = time.monotonic() + timeout
    before = cpu_seconds(process)
    while time.monotonic() < deadline:
        time.sleep(0.1)
        after = cpu_seconds(process)
        if after - before <= 1 / _TICKS_PER_SECOND:
            return
        before = after
