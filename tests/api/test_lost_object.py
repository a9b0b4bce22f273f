"""An object lost outside the service raises an alarm; the next upload of its bytes heals it."""

import logging
from typing import TYPE_CHECKING

import pytest
from fastapi.testclient import TestClient

from config import Settings
from tests.support import pictures
from tests.support.uploads import on_sqlite, problem, serving, upload

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


@on_sqlite
@pytest.mark.parametrize("harm", ["deleted", "cut"])
def test_healed_by_the_same_bytes(
    settings: Settings, s3: "S3Client", caplog: pytest.LogCaptureFixture, harm: str
) -> None:
    """Uploading the same bytes stores them again if the object is missing or truncated."""
    picture = pictures.png()
    with serving(settings) as client:
        assert upload(client, picture).headers["Upload-Result"] == "created"
        _harm(s3, settings.aws_s3_bucket, harm)
        problem(client.get("/images/a"), 500, "image_lost")
        with caplog.at_level(logging.CRITICAL):
            assert upload(client, picture).headers["Upload-Result"] == "replaced"
        assert "has lost object" in caplog.text
        assert client.get("/images/a").content == picture
        assert upload(client, picture).headers["Upload-Result"] == "unchanged"


def _harm(s3: "S3Client", bucket: str, how: str) -> None:
    (entry,) = s3.list_objects_v2(Bucket=bucket)["Contents"]
    if how == "deleted":
        s3.delete_object(Bucket=bucket, Key=entry["Key"])
    else:
        s3.put_object(Bucket=bucket, Key=entry["Key"], Body=b"cut")


@on_sqlite
def test_unchanged_needs_the_store(settings: Settings, client: TestClient) -> None:
    """Uploading the current bytes is 503 while S3 is unavailable."""
    picture = pictures.png()
    assert upload(client, picture).is_success
    with serving(settings, aws_endpoint_url_s3="http://127.0.0.1:1", s3_max_attempts=1) as apart:
        problem(upload(apart, picture), 503, "storage_unavailable")
