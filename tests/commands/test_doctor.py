"""`python -m scripts.doctor` finds nothing wrong where nothing is, and names what is, with its fix.

What is wrong here is really so: denied by a policy of the bucket, dropped from a table.
"""

import json
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text

from config import Settings
from devstack.databases import connection
from devstack.object_store import ObjectStore
from s3_client import Bucket
from scripts.doctor import __main__ as doctor
from scripts.doctor.checks import Status
from tests.support.diagnoses import examined, failures, troubles
from tests.support.fault_proxy import FaultProxy
from tests.support.moto_store import moto_store

if TYPE_CHECKING:
    from collections.abc import Callable

    from mypy_boto3_s3 import S3Client

on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def test_healthy(settings: Settings, s3: "S3Client") -> None:
    """On every engine all is ok, and nothing is left in tables and bucket."""
    results = examined(settings)
    assert {str(result) for result in results.values() if result.status is not Status.OK} == set()
    assert len(results) > 20
    with connection(settings.db_url) as db:
        for table in ("images", "pending_objects"):
            assert db.scalar(text(f"SELECT count(*) FROM {table}")) == 0  # noqa: S608
    assert s3.list_objects_v2(Bucket=settings.aws_s3_bucket)["KeyCount"] == 0


@pytest.fixture
def environment(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, object_store: ObjectStore
) -> None:
    """Name database and bucket in the environment, where the command looks."""
    for name, value in object_store.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("DB_URL", settings.db_url)
    monkeypatch.setenv("AWS_S3_BUCKET", settings.aws_s3_bucket)


@on_sqlite
@pytest.mark.usefixtures("environment")
def test_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The command prints a line for each check; its status is 1 when one failed."""
    assert doctor.main([]) == 0
    healthy = capsys.readouterr().out.splitlines()
    assert {line.split()[0] for line in healthy} == {"ok"}
    monkeypatch.setenv("AWS_S3_BUCKET", "no-such-bucket")
    assert doctor.main([]) == 1
    ill = capsys.readouterr().out.splitlines()
    assert len(ill) == len(healthy)
    (line,) = [line for line in ill if line.startswith("FAILED")]
    assert "Fix: create the bucket, or name another in AWS_S3_BUCKET" in line
    monkeypatch.setenv("DB_URL", "oracle://host/images")
    assert doctor.main([]) == 1
    assert capsys.readouterr().out.startswith("FAILED   settings: DB_URL names oracle")


@on_sqlite
@pytest.mark.parametrize(
    ("variable", "fix"),
    [
        ("AWS_ACCESS_KEY_ID", "set AWS_ACCESS_KEY_ID to a key that the store knows"),
        ("AWS_SECRET_ACCESS_KEY", "set AWS_SECRET_ACCESS_KEY to the one that belongs to the key"),
    ],
)
def test_wrong_credentials(
    settings: Settings, variable: str, fix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Credentials that the store does not take are told apart; what needs them is not tried."""
    monkeypatch.setenv(variable, "wrong")
    found = troubles(settings)
    failed = {title: result.fix for title, result in found.items() if result.fix}
    assert failed == {"S3 answers": fix}
    assert {result.status for title, result in found.items() if title not in failed} == {
        Status.WARNING
    }
    assert "not tested, because this failed: S3 answers" in str(found["put an object"])


@on_sqlite
def test_store_away(settings: Settings) -> None:
    """A store that does not answer is one failure, and says where it was looked for."""
    away = {"aws_endpoint_url_s3": "http://127.0.0.1:1", "s3_max_attempts": 1}
    found = troubles(settings.model_copy(update=away))["S3 answers"]
    assert "http://127.0.0.1:1" in found.seen
    assert "AWS_ENDPOINT_URL_S3" in found.fix


@pytest.fixture(scope="module")
def other_bucket(new_bucket: "Callable[[], str]") -> str:
    """Return a bucket whose policy and versioning may be changed."""
    return new_bucket()


@pytest.fixture
def denied(request: pytest.FixtureRequest, s3: "S3Client", other_bucket: str) -> Iterator[str]:
    """Deny everyone the action that the test names, in a bucket; return the bucket."""
    statement = {
        "Effect": "Deny",
        "Principal": "*",
        "Action": request.param,
        "Resource": [f"arn:aws:s3:::{other_bucket}", f"arn:aws:s3:::{other_bucket}/*"],
    }
    policy = {"Version": "2012-10-17", "Statement": [statement]}
    s3.put_bucket_policy(Bucket=other_bucket, Policy=json.dumps(policy))
    yield other_bucket
    s3.delete_bucket_policy(Bucket=other_bucket)


@on_sqlite
@pytest.mark.parametrize(
    ("denied", "title"),
    [
        ("s3:ListBucket", "list objects"),
        ("s3:PutObject", "put an object"),
        ("s3:GetObject", "get an object"),
        ("s3:DeleteObject", "delete an object"),
    ],
    indirect=["denied"],
)
def test_denied(
    settings: Settings, denied: str, title: str, request: pytest.FixtureRequest
) -> None:
    """Each permission that is denied is the one failure, and named in the fix."""
    action = request.node.callspec.params["denied"]
    failed = failures(settings.model_copy(update={"aws_s3_bucket": denied}))
    assert list(failed) == [title]
    assert f"allow {action} on" in failed[title]


@on_sqlite
def test_versioning(settings: Settings, s3: "S3Client", new_bucket: "Callable[[], str]") -> None:
    """A bucket that keeps old versions is a warning."""
    bucket = new_bucket()
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    found = troubles(settings.model_copy(update={"aws_s3_bucket": bucket}))
    assert [(title, result.status) for title, result in found.items()] == [
        ("versioning", Status.WARNING)
    ]


@on_sqlite
def test_checksum_ignored(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that takes altered bytes is a warning, and keeps no probe."""
    with moto_store() as store:
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        careless = settings.model_copy(update={"aws_endpoint_url_s3": store.url})
        with closing(Bucket(careless)) as bucket:
            bucket.client.create_bucket(Bucket=settings.aws_s3_bucket)
            assert [(title, result.status) for title, result in troubles(careless).items()] == [
                ("checksum", Status.WARNING)
            ]
            assert list(bucket.list_objects()) == []


@on_sqlite
@pytest.mark.parametrize("seconds", [-60, 60])
def test_clock(settings: Settings, seconds: int) -> None:
    """A clock of S3 that is a minute from ours is a warning that says by how much."""
    port = int(str(settings.aws_endpoint_url_s3).rpartition(":")[2])
    moment = format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)
    with FaultProxy(("127.0.0.1", port)) as proxy:
        head = f"HTTP/1.1 200 OK\r\nDate: {moment}\r\nContent-Length: 45\r\n\r\n".encode()
        proxy.answer_with(head, when=b"HEAD /", times=None)
        elsewhen = {"aws_endpoint_url_s3": f"http://127.0.0.1:{proxy.address[1]}"}
        (trouble,) = troubles(settings.model_copy(update=elsewhen)).values()
    assert (trouble.title, trouble.status) == ("clock of S3", Status.WARNING)
    assert trouble.seen[0] == f"{seconds:+}"[0]
    assert "NTP" in trouble.fix


@on_sqlite
@pytest.mark.parametrize(("redirects", "status"), [("off", "warning"), ("default", "FAILED")])
def test_presigned(settings: Settings, redirects: str, status: str) -> None:
    """Presigned URLs that lead nowhere are a failure if clients are sent there."""
    changes = {"s3_public_endpoint_url": "http://127.0.0.1:1", "redirects": redirects}
    (trouble,) = troubles(settings.model_copy(update=changes)).values()
    assert (trouble.title, trouble.status) == ("presigned URL", status)
    assert "S3_PUBLIC_ENDPOINT_URL" in trouble.fix


@on_sqlite
def test_times(settings: Settings) -> None:
    """A grace period that a PUT may outlast is a warning."""
    (trouble,) = troubles(settings.model_copy(update={"upload_grace_seconds": 60.0})).values()
    assert (trouble.title, trouble.status) == ("times", "warning")
