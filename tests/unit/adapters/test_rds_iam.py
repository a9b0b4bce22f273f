"""Tokens of RDS: how they are made, and where they must not be sent."""

from urllib.parse import parse_qs, urlsplit

import pytest
from sqlalchemy import make_url

from adapters import rds_iam
from adapters.engines import build_engine
from config import Settings
from errors import ConfigurationError


def test_token(monkeypatch: pytest.MonkeyPatch) -> None:
    """A token is a presigned request for user, host and port in the region of the host."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    for host, region in [
        ("images.abc123.ap-south-2.rds.amazonaws.com", "ap-south-2"),
        ("proxy.internal", "eu-central-1"),
    ]:
        url = make_url(f"mysql+pymysql://images@{host}/images")
        token = urlsplit(f"https://{rds_iam.token_source(url, 'eu-central-1')()}")
        assert token.netloc == f"{host}:3306"
        query = parse_qs(token.query)
        assert (query["Action"], query["DBUser"]) == (["connect"], ["images"])
        assert query["X-Amz-Expires"] == ["900"]
        assert f"/{region}/rds-db/aws4_request" in query["X-Amz-Credential"][0]


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://images@h/images",
        "postgresql://images@h/images?sslmode=require",
        "postgresql://images@h/images?sslmode=verify-ca",
        "mysql://images@h/images",
        "mysql://images@h/images?ssl_verify_cert=false",
        "mysql://images@h/images?ssl_check_hostname=false",
        "mysql://images@h/images?ssl_verify_identity=false",
        "postgresql://h/images?sslmode=verify-full",
        "sqlite:///images.db",
    ],
)
def test_unsafe_tokens(url: str) -> None:
    """The service does not start if others could read its tokens, or if it needs none."""
    settings = Settings(
        db_url=url, db_iam_auth=True, aws_region="eu-central-1", aws_s3_bucket="none"
    )
    with pytest.raises(ConfigurationError, match=r"^Configuration: DB_IAM_AUTH [^\n]+\.$"):
        build_engine(settings)
