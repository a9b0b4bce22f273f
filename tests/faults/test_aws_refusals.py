"""Errors that only AWS returns: clients get a generic 503, the log the cause, and data stays safe.

Source: AWS, "Error responses", list of error codes.
"""

import logging
from collections.abc import Iterator

import boto3
import pytest
from fastapi.testclient import TestClient

from config import Settings
from devstack.databases import fresh_database
from scripts.create_tables import create_tables
from tests.support.moto_store import MotoStore, moto_store
from tests.support.pictures import png
from tests.support.uploads import count, problem, serving, upload

PICTURE, OTHER = png(seed=1), png(seed=2)
REFUSALS = [
    (400, "ExpiredToken"),
    (403, "InvalidAccessKeyId"),
    (403, "SignatureDoesNotMatch"),
    (403, "RequestTimeTooSkewed"),
    (403, "AccessDenied"),
    (400, "AuthorizationHeaderMalformed"),  # the bucket is in another region
    (301, "PermanentRedirect"),  # likewise
    (404, "NoSuchBucket"),
    (503, "SlowDown"),
]
ATTEMPTS = 3


@pytest.fixture(scope="module")
def store() -> Iterator[MotoStore]:
    """Run moto's S3 with a bucket `images`."""
    with moto_store() as store, pytest.MonkeyPatch.context() as environment:
        environment.setenv("AWS_ACCESS_KEY_ID", "key")
        environment.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        client = boto3.client("s3", endpoint_url=store.url, region_name="us-east-1")
        client.create_bucket(Bucket="images")
        client.close()
        yield store


@pytest.fixture
def quick(store: MotoStore) -> Iterator[Settings]:
    """Return the settings of a service with moto and a new SQLite database."""
    with fresh_database("sqlite://") as url:
        settings = Settings(
            db_url=url,
            aws_region="us-east-1",
            aws_s3_bucket="images",
            aws_endpoint_url_s3=store.url,
            s3_max_attempts=ATTEMPTS,
            sweep_interval_seconds=0,
        )
        create_tables(settings)
        store.refusals.clear()
        yield settings


@pytest.fixture
def client(quick: Settings) -> Iterator[TestClient]:
    """Run the application and return a client for it."""
    with serving(quick) as client:
        yield client


def test_round_trip(client: TestClient, quick: Settings) -> None:
    """Without refusals moto supports upload, download, ranges, overwrite and delete."""
    assert upload(client, PICTURE, name="a").status_code == 201
    assert client.get("/images/a").content == PICTURE
    part = client.get("/images/a", headers={"Range": "bytes=2-9"})
    assert (part.status_code, part.content) == (206, PICTURE[2:10])
    assert upload(client, OTHER, name="a").headers["Upload-Result"] == "replaced"
    assert client.get("/images/a").content == OTHER
    assert client.delete("/images/a").status_code == 200
    assert client.get("/images/a").status_code == 404
    assert count(quick, "pending_objects") == 0


def logged(status: int, code: str) -> str:
    """Return the text that the log must contain; obstore describes a redirect in its own words."""
    return "incorrectly configured region" if status == 301 else f"<Code>{code}</Code>"


@pytest.mark.parametrize(("status", "code"), REFUSALS)
def test_upload(
    client: TestClient,
    quick: Settings,
    store: MotoStore,
    caplog: pytest.LogCaptureFixture,
    status: int,
    code: str,
) -> None:
    """A refused PUT is not retried; its key stays in the journal and the image is unchanged."""
    assert upload(client, PICTURE, name="a").status_code == 201
    store.refusals.append(("PUT", status, code))
    store.requests.clear()
    with caplog.at_level(logging.WARNING):
        answer = upload(client, OTHER, name="a")
    problem(answer, 503, "storage_unavailable")
    assert code not in answer.text
    assert logged(status, code) in caplog.text
    assert store.requests == ["PUT"]
    assert count(quick, "pending_objects") == 1
    assert client.get("/images/a").content == PICTURE


@pytest.mark.parametrize(("status", "code"), REFUSALS)
def test_download(
    client: TestClient, store: MotoStore, caplog: pytest.LogCaptureFixture, status: int, code: str
) -> None:
    """A refused GET is answered with 503, and only a 503 from S3 is retried."""
    assert upload(client, PICTURE, name="a").status_code == 201
    store.refusals += [("GET", status, code)] * ATTEMPTS
    store.requests.clear()
    with caplog.at_level(logging.WARNING):
        answer = client.get("/images/a")
    problem(answer, 503, "storage_unavailable")
    assert code not in answer.text
    assert logged(status, code) in caplog.text
    assert len(store.requests) == (ATTEMPTS if status == 503 else 1)


def test_slow_down_once(client: TestClient, store: MotoStore) -> None:
    """A GET that S3 answers with SlowDown is retried and succeeds."""
    assert upload(client, PICTURE, name="a").status_code == 201
    store.refusals += [("GET", 503, "SlowDown")] * (ATTEMPTS - 1)
    assert client.get("/images/a").content == PICTURE


@pytest.mark.parametrize(("status", "code"), REFUSALS)
def test_delete(
    client: TestClient, quick: Settings, store: MotoStore, status: int, code: str
) -> None:
    """A delete succeeds although S3 refuses to delete the object; the journal keeps the key."""
    assert upload(client, PICTURE, name="a").status_code == 201
    store.refusals += [("DELETE", status, code)] * ATTEMPTS
    assert client.delete("/images/a").status_code == 200
    assert client.get("/images/a").status_code == 404
    assert count(quick, "pending_objects") == 1


@pytest.mark.parametrize(("status", "code"), REFUSALS)
def test_not_ready(client: TestClient, store: MotoStore, status: int, code: str) -> None:
    """A refused bucket check makes the service not ready."""
    store.refusals += [("HEAD", status, code)] * ATTEMPTS
    answer = client.get("/health/ready")
    problem(answer, 503, "not_ready")
    assert answer.json()["checks"] == {"database": "ok", "bucket": "failed"}
