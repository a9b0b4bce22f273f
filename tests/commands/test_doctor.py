"""`python -m scripts.doctor` reports each fault with its fix, and none on a healthy setup.

Most faults are real: a bucket policy denies an action, a column is dropped.
"""

import json
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text

from config import Settings
from devstack.databases import connection
from devstack.object_store import ObjectStore
from s3_client import Bucket
from scripts.doctor import __main__ as doctor
from scripts.doctor.checks import Status
from tests.support.diagnoses import examined, failures, problems
from tests.support.fault_proxy import FaultProxy
from tests.support.moto_store import moto_store

if TYPE_CHECKING:
    from collections.abc import Callable

    from mypy_boto3_s3 import S3Client

on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def test_healthy(settings: Settings, s3: "S3Client") -> None:
    """On every engine all checks pass and leave nothing in the tables and the bucket."""
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
    """Name database and bucket in the environment, where the command reads them."""
    for name, value in object_store.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("DB_URL", settings.db_url)
    monkeypatch.setenv("AWS_S3_BUCKET", settings.aws_s3_bucket)


@on_sqlite
@pytest.mark.usefixtures("environment")
def test_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The command prints one line per check and exits with 1 if a check fails."""
    assert doctor.main([]) == 0
    healthy = capsys.readouterr().out.splitlines()
    assert {line.split()[0] for line in healthy} == {"ok"}
    monkeypatch.setenv("AWS_S3_BUCKET", "no-such-bucket")
    assert doctor.main([]) == 1
    failed = capsys.readouterr().out.splitlines()
    assert len(failed) == len(healthy)
    (line,) = [line for line in failed if line.startswith("FAILED")]
    assert "Fix: create the bucket, or name another in AWS_S3_BUCKET" in line
    monkeypatch.setenv("DB_URL", "oracle://host/images")
    assert doctor.main([]) == 1
    assert capsys.readouterr().out.startswith("FAILED   settings: DB_URL names oracle")


@on_sqlite
@pytest.mark.parametrize(
    ("variable", "fix"),
    [
        ("AWS_ACCESS_KEY_ID", "set AWS_ACCESS_KEY_ID to a key that the store knows"),
        ("AWS_SECRET_ACCESS_KEY", "set AWS_SECRET_ACCESS_KEY to the secret of the access key"),
    ],
)
def test_wrong_credentials(
    settings: Settings, variable: str, fix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong key id and a wrong secret get different fixes; later checks are skipped."""
    monkeypatch.setenv(variable, "wrong")
    found = problems(settings)
    failed = {title: result.fix for title, result in found.items() if result.fix}
    assert failed == {"S3 answers": fix}
    assert {result.status for title, result in found.items() if title not in failed} == {
        Status.WARNING
    }
    assert "not tested, because this failed: S3 answers" in str(found["put an object"])


@on_sqlite
def test_store_away(settings: Settings) -> None:
    """An unreachable store is one failure, which names its URL and the setting."""
    away = {"aws_endpoint_url_s3": "http://127.0.0.1:1", "s3_max_attempts": 1}
    found = problems(settings.model_copy(update=away))["S3 answers"]
    assert "http://127.0.0.1:1" in found.seen
    assert "AWS_ENDPOINT_URL_S3" in found.fix


@pytest.fixture(scope="module")
def other_bucket(new_bucket: "Callable[[], str]") -> str:
    """Return a bucket whose policy a test may change."""
    return new_bucket()


@pytest.fixture
def denied(request: pytest.FixtureRequest, s3: "S3Client", other_bucket: str) -> Iterator[str]:
    """Deny the test's action on a bucket by policy; return the bucket's name."""
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
    """A denied permission is the only failure, and its fix names the action."""
    action = request.node.callspec.params["denied"]
    failed = failures(settings.model_copy(update={"aws_s3_bucket": denied}))
    assert list(failed) == [title]
    assert f"allow {action} on" in failed[title]


@on_sqlite
def test_versioning(settings: Settings, s3: "S3Client", new_bucket: "Callable[[], str]") -> None:
    """A versioned bucket is a warning."""
    bucket = new_bucket()
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    found = problems(settings.model_copy(update={"aws_s3_bucket": bucket}))
    assert [(title, result.status) for title, result in found.items()] == [
        ("versioning", Status.WARNING)
    ]


@on_sqlite
def test_checksum_ignored(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that accepts a wrong checksum is a warning; the probe object is removed."""
    with moto_store() as store:
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        lenient = settings.model_copy(update={"aws_endpoint_url_s3": store.url})
        with closing(Bucket(lenient)) as bucket:
            bucket.client.create_bucket(Bucket=settings.aws_s3_bucket)
            assert [(title, result.status) for title, result in problems(lenient).items()] == [
                ("checksum", Status.WARNING)
            ]
            assert list(bucket.list_objects()) == []


@on_sqlite
@pytest.mark.parametrize("seconds", [-60, 60])
def test_clock(settings: Settings, seconds: int) -> None:
    """A store's clock that is a minute off is a warning that states the difference."""
    port = int(str(settings.aws_endpoint_url_s3).rpartition(":")[2])
    moment = format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)
    with FaultProxy(("127.0.0.1", port)) as proxy:
        head = f"HTTP/1.1 200 OK\r\nDate: {moment}\r\nContent-Length: 45\r\n\r\n".encode()
        proxy.answer_with(head, when=b"HEAD /", times=None)
        through_proxy: dict[str, Any] = {
            "aws_endpoint_url_s3": f"http://127.0.0.1:{proxy.address[1]}",
            "s3_read_timeout_seconds": 1,
        }
        (problem,) = problems(settings.model_copy(update=through_proxy)).values()
    assert (problem.title, problem.status) == ("clock of S3", Status.WARNING)
    assert problem.seen[0] == f"{seconds:+}"[0]
    assert "NTP" in problem.fix


@on_sqlite
@pytest.mark.parametrize(("redirects", "status"), [("off", "warning"), ("default", "FAILED")])
def test_presigned(settings: Settings, redirects: str, status: str) -> None:
    """Unreachable presigned URLs are a failure if redirects are on, else a warning."""
    changes = {"s3_public_endpoint_url": "http://127.0.0.1:1", "redirects": redirects}
    (problem,) = problems(settings.model_copy(update=changes)).values()
    assert (problem.title, problem.status) == ("presigned URL", status)
    assert "S3_PUBLIC_ENDPOINT_URL" in problem.fix


@on_sqlite
def test_times(settings: Settings) -> None:
    """A grace period shorter than a PUT may take is a warning."""
    (problem,) = problems(settings.model_copy(update={"upload_grace_seconds": 60.0})).values()
    assert (problem.title, problem.status) == ("times", "warning")
