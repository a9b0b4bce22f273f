"""Which bucket an address means."""

import pytest

from config import Settings
from services.transfer.buckets import Access, open_bucket
from services.transfer.failures import TransferError

AWS = "https://s3.eu-central-1.amazonaws.com"


def with_bucket(endpoint: str | None) -> Settings:
    """Return settings with the bucket `images` at an endpoint."""
    return Settings(
        db_url="sqlite:///none",
        aws_region="eu-central-1",
        aws_s3_bucket="images",
        aws_endpoint_url_s3=endpoint,
    )


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("http://store.example:9000", "http://store.example:9000/"),
        ("http://store.example", "HTTPS://Store.Example"),
        ("https://store.example", "https://store.example:443"),
        ("http://store.example:80", "http://store.example"),
        (None, AWS),
        (AWS, "https://s3.amazonaws.com/"),
    ],
)
def test_own_bucket(ours: str | None, theirs: str) -> None:
    """The service's own bucket is recognized however its endpoint is written."""
    settings = with_bucket(ours)
    with pytest.raises(TransferError, match="own bucket"):
        open_bucket("s3://images/x", settings, Access(endpoint=theirs))


def test_bucket_of_another_store() -> None:
    """A bucket of the same name in another store is another one."""
    settings = with_bucket("http://store.example:9000")
    for theirs in (AWS, "http://store.example:9001", "http://amazonaws.com.example"):
        bucket, prefix = open_bucket("s3://images/x", settings, Access(endpoint=theirs))
        bucket.close()
        assert prefix == "x/"
