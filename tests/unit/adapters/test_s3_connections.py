"""Requests to S3 are signed with the current credentials of boto3's chain."""

import shlex
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from adapters import s3_connections
from config import Settings
from errors import StorageUnavailableError
from s3_client import Bucket
from tests.support.certificates import make_certificates
from tests.support.recording_proxy import RecordingProxy
from tests.support.stored_objects import get, put

PROCESS = """
import json, pathlib, sys
counter = pathlib.Path(sys.argv[1])
number = int(counter.read_text()) + 1
counter.write_text(str(number))
print(json.dumps({"Version": 1, "AccessKeyId": f"AKID{number}", "SecretAccessKey": "secret",
    "SessionToken": f"token-{number}", "Expiration": sys.argv[2]}))
"""


@pytest.fixture
def nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Hide all credentials from boto3, except those in the configuration file that is returned."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    return tmp_path / "config"


@pytest.fixture
def proxy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RecordingProxy]:
    """Return a server that responds in place of S3."""
    with RecordingProxy(make_certificates(tmp_path, hosts=["store.example"])) as proxy:
        proxy.environment(monkeypatch)
        yield proxy


SETTINGS = Settings(
    db_url="sqlite:///unused.db",
    aws_region="eu-central-1",
    aws_s3_bucket="images",
    aws_endpoint_url_s3="https://store.example",
)


@pytest.mark.usefixtures("nobody")
def test_none(proxy: RecordingProxy) -> None:
    """Without credentials the service starts, sends nothing, and storage is unavailable."""
    with closing(Bucket(SETTINGS)) as bucket:
        for ask in (
            lambda: put(bucket, "a", b"x"),
            lambda: get(bucket, "a"),
            lambda: bucket.delete_image("a"),
            lambda: bucket.presigned_url("GET", "a", {}),
            bucket.check,
            lambda: list(bucket.list_objects()),
        ):
            with pytest.raises(StorageUnavailableError):
                ask()
    assert proxy.sent() == []


def test_late(nobody: Path, proxy: RecordingProxy) -> None:
    """Credentials that appear after the start are used."""
    with closing(Bucket(SETTINGS)) as bucket:
        with pytest.raises(StorageUnavailableError):
            put(bucket, "a", b"x")
        nobody.with_name("none").write_text(
            "[default]\naws_access_key_id = LATE\naws_secret_access_key = secret\n"
        )
        put(bucket, "a", b"x")
        assert "X-Amz-Credential=LATE" in bucket.presigned_url("GET", "a", {})
    assert "Credential=LATE/" in proxy.sent()[0].headers["authorization"]


def test_refreshed(
    nobody: Path, proxy: RecordingProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Credentials that are about to expire are replaced before the next request."""
    monkeypatch.setattr(s3_connections, "_CREDENTIALS_TTL", timedelta(0))  # no minute of waiting
    counter = tmp_path / "counter"
    counter.write_text("0")
    expiry = (datetime.now(UTC) + timedelta(minutes=5)).isoformat()
    script = tmp_path / "process.py"
    script.write_text(PROCESS)
    command = shlex.join([sys.executable, str(script), str(counter), str(expiry)])
    nobody.write_text(f"[default]\ncredential_process = {command}\n")
    with closing(Bucket(SETTINGS)) as bucket:
        counter.write_text("10")
        put(bucket, "a", b"x")
        counter.write_text("20")
        get(bucket, "a")
        assert "X-Amz-Credential=AKID2" in bucket.presigned_url("GET", "a", {})
    first, second = (sent.headers for sent in proxy.sent())
    assert first["x-amz-security-token"] == "token-11"
    assert second["x-amz-security-token"].startswith("token-2")
