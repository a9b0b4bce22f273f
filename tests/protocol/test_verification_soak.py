"""Verification of many images finds all damage and nothing else, in bounded memory.

The bucket has 2,000 real objects of one byte, or 200,000 in the soak, where storing them takes
minutes. All damage is planted in the tables, so that every engine can use the same bucket.
"""

import hashlib
import json
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime
from http.client import HTTPConnection
from typing import Any, NamedTuple, cast
from urllib.parse import urlsplit

import pytest
from sqlalchemy import Table, insert

from config import Settings
from db import Image, PendingObject
from devstack.databases import engine_for
from devstack.object_store import ObjectStore
from devstack.service_process import ROOT
from s3_client import Bucket

MEGABYTE = 1024 * 1024
THREADS = 16
ROWS_AT_ONCE = 5_000
EACH = 10  # keys per kind of damage

BODY = b"x"
VERIFY = """
import sys
from pathlib import Path
from scripts.verify import main
status = main(sys.argv[1:])
print(Path("/proc/self/status").read_text(), file=sys.stderr)
sys.exit(status)
"""


class FilledBucket(NamedTuple):
    """A bucket and the number of its objects, which start at `key(0)`."""

    bucket: str
    size: int


class Verified(NamedTuple):
    """The result of one run of the command: findings, summary and cost."""

    found: set[tuple[str, str]]
    summary: dict[str, Any]
    peak_bytes: int
    seconds: float


def key(number: int) -> str:
    """Return the key of the object with this number."""
    return f"image-{number:06d}.png"


@pytest.fixture(
    scope="module", params=[2_000, pytest.param(200_000, marks=pytest.mark.soak)], ids=str
)
def filled(
    request: pytest.FixtureRequest, object_store: ObjectStore, new_bucket: Callable[[], str]
) -> FilledBucket:
    """Return a bucket with many objects."""
    filled = FilledBucket(new_bucket(), request.param)
    settings = Settings(
        db_url="sqlite:///unused.db",
        aws_region=object_store.region,
        aws_s3_bucket=filled.bucket,
        aws_endpoint_url_s3=object_store.endpoint_url,
    )
    share = -(-filled.size // THREADS)
    parts = [range(i, min(i + share, filled.size)) for i in range(0, filled.size, share)]
    with closing(Bucket(settings)) as bucket, ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(lambda numbers: fill(bucket, numbers), parts))
    return filled


def fill(bucket: Bucket, numbers: range) -> None:
    """Store the objects with these numbers, without boto3, whose overhead would dominate."""
    host = urlsplit(bucket.presigned_url("PUT", "any", {})).netloc
    with closing(HTTPConnection(host)) as connection:
        for number in numbers:
            url = urlsplit(bucket.presigned_url("PUT", key(number), {}))
            connection.request("PUT", f"{url.path}?{url.query}", BODY)
            with connection.getresponse() as response:
                assert response.status == 200, response.read()
                response.read()


def row(number: int, **changes: Any) -> dict[str, Any]:
    """Return the image row of the object with this number."""
    moment = datetime.now(UTC)
    return {
        "name": f"image {number}",
        "size_bytes": len(BODY),
        "extension": "png",
        "content_type": "image/png",
        "sha256": hashlib.sha256(BODY).hexdigest(),
        "width": 1,
        "height": 1,
        "s3_key": key(number),
        "created_at": moment,
        "last_updated_at": moment,
    } | changes


def planted(filled: FilledBucket) -> dict[str, range]:
    """Return the numbers of the keys of each kind, spread over the bucket; lost ones follow it."""
    step = filled.size // EACH
    kinds = ("orphan", "wrong_size", "altered", "doomed", "journaled")
    spread = {kind: range(i, step * EACH, step) for i, kind in enumerate(kinds)}
    return spread | {"lost": range(filled.size, filled.size + EACH)}


def write_tables(url: str, filled: FilledBucket) -> None:
    """Insert rows and journal entries, including the damage."""
    kinds = planted(filled)
    changes: dict[int, dict[str, Any]] = {
        **{number: {"size_bytes": 2} for number in kinds["wrong_size"]},
        **{number: {"sha256": "0" * 64} for number in kinds["altered"]},
    }
    without_row = {*kinds["orphan"], *kinds["journaled"]}
    numbers = [n for n in range(filled.size + EACH) if n not in without_row]
    entry = {"state": "D", "created_at": datetime.now(UTC)}
    engine = engine_for(url)
    with engine.begin() as connection:
        for start in range(0, len(numbers), ROWS_AT_ONCE):
            rows = [row(n, **changes.get(n, {})) for n in numbers[start : start + ROWS_AT_ONCE]]
            connection.execute(insert(cast(Table, Image.__table__)), rows)
        entries = [{"s3_key": key(n)} | entry for n in (*kinds["journaled"], *kinds["doomed"])]
        connection.execute(insert(cast(Table, PendingObject.__table__)), entries)
    engine.dispose()


def verify(
    url: str,
    filled: FilledBucket,
    store: ObjectStore,
    monkeypatch: pytest.MonkeyPatch,
    *options: str,
) -> Verified:
    """Run the command as a separate process."""
    for name, value in store.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("DB_URL", url)
    monkeypatch.setenv("AWS_S3_BUCKET", filled.bucket)
    began = time.monotonic()
    command = [sys.executable, "-c", VERIFY, "--json", *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    seconds = time.monotonic() - began
    assert done.returncode == 1, done.stderr
    *findings, last = (json.loads(line) for line in done.stdout.splitlines())
    (peak,) = (line.split()[1] for line in done.stderr.splitlines() if line.startswith("VmHWM:"))
    found = {(finding["damage"], finding["key"]) for finding in findings}
    assert len(found) == len(findings), "a finding was reported twice"
    return Verified(found, last["summary"], int(peak) * 1024, seconds)


def check(filled: FilledBucket, result: Verified, *unreported: str) -> None:
    """Assert that all kinds but the `unreported` ones were found, in less than 200 MB."""
    cost = f"{result.seconds:.1f} s, {result.peak_bytes / MEGABYTE:.0f} MB of RSS at most"
    sys.stdout.write(f"{filled.size} objects: {cost}")  # for -rP
    kinds = planted(filled)
    expected = {(kind, key(n)) for kind in kinds if kind not in unreported for n in kinds[kind]}
    assert result.found == expected
    seen = result.summary["objects"], result.summary["images"], result.summary["journal_entries"]
    assert seen == (filled.size, filled.size - EACH, 2 * EACH)
    assert result.peak_bytes < 200 * MEGABYTE


def test_many(
    database_url: str,
    filled: FilledBucket,
    object_store: ObjectStore,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Verification of many images finds all damage in less than 200 MB."""
    write_tables(database_url, filled)
    result = verify(database_url, filled, object_store, monkeypatch)
    check(filled, result, "journaled", "altered")


@pytest.mark.soak
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_many_deep(
    database_url: str,
    filled: FilledBucket,
    object_store: ObjectStore,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Deep verification of many images also finds altered bytes in less than 200 MB."""
    write_tables(database_url, filled)
    result = verify(database_url, filled, object_store, monkeypatch, "--deep")
    check(filled, result, "journaled")
