"""Values of settings are normalised, and impossible ones are refused."""

from typing import Any

import pytest
from pydantic import ValidationError

from config import Settings

REQUIRED = {"db_url": "sqlite:///unused.db", "aws_region": "none", "aws_s3_bucket": "none"}


def settings(**changes: Any) -> Settings:
    """Return settings with these values, as the environment has them."""
    return Settings(**REQUIRED | changes)


def test_lists() -> None:
    """Lists are comma-separated; spaces, dots, case and repetitions do not matter."""
    chosen = settings(allowed_extensions="jpg, .PNG,,jpg ", variants="320,64x64-crop,320")
    assert chosen.allowed_extensions == ("jpg", "png")
    assert chosen.variants == ("320", "64x64-crop")


@pytest.mark.parametrize("concurrency", [1, 2, 16, 1000])
def test_reserve(concurrency: int) -> None:
    """At least two threads are left when S3 hangs, and a quarter of CONCURRENCY."""
    reserve = settings(concurrency=concurrency).threads - concurrency
    assert reserve >= max(2, concurrency // 4)


@pytest.mark.parametrize("bucket", ["abc", "my.images-1", "0a" * 31])
def test_buckets(bucket: str) -> None:
    """A name that S3 allows for a bucket is kept."""
    assert settings(aws_s3_bucket=bucket).aws_s3_bucket == bucket


@pytest.mark.parametrize(
    "bucket",
    [
        "ab",
        "a" * 64,
        "Images",
        "-ab",
        "ab-",
        "a..b",
        "10.0.0.1",
        "xn--a",
        "a-s3alias",
        "a/b",
        "a\n",
    ],
)
def test_no_bucket(bucket: str) -> None:
    """A name that S3 does not allow for a bucket is refused."""
    with pytest.raises(ValidationError, match="is not a bucket name"):
        settings(aws_s3_bucket=bucket)


def test_horizon() -> None:
    """The sweeper's horizon is longer than a PUT can take."""
    with pytest.raises(ValidationError, match="must be longer than S3_PUT_TIMEOUT_SECONDS"):
        settings(s3_put_timeout_seconds=60, put_horizon_seconds=60)
    assert settings(put_horizon_seconds=60.1).put_horizon_seconds == 60.1
