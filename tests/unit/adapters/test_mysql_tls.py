"""The TLS arguments of MySQL and MariaDB URLs mean what PyMySQL documents."""

import ssl
from pathlib import Path

import pytest
from sqlalchemy import make_url

from adapters.engines import build_engine
from adapters.mysql_tls import split_tls
from config import Settings
from errors import ConfigurationError
from tests.support.certificates import make_certificates


@pytest.mark.parametrize(
    ("query", "verifies", "names"),
    [
        ("ssl_ca={ca}", True, True),
        ("ssl_ca={ca}&ssl_verify_identity=true", True, True),
        ("ssl_verify_identity=true", True, True),
        ("ssl_ca={ca}&ssl_disabled=false", True, True),
        ("ssl_ca={ca}&ssl_verify_identity=false", True, False),
        ("ssl_ca={ca}&ssl_check_hostname=0", True, False),
        ("ssl_verify_cert=false", False, False),
        ("ssl_cert={cert}&ssl_key={key}&ssl_ca={ca}&ssl_cipher=HIGH", True, True),
    ],
)
def test_arguments(tmp_path: Path, query: str, verifies: bool, names: bool) -> None:  # noqa: FBT001
    """Each TLS argument of a MySQL URL has the meaning that PyMySQL documents."""
    made = make_certificates(tmp_path)
    query = query.format(ca=made.ca, cert=made.certificate, key=made.key)
    rest, arguments = split_tls(make_url(f"mysql+pymysql://u@h/images?{query}&charset=utf8mb4"))
    assert dict(rest.query) == {"charset": "utf8mb4"}
    context = arguments["ssl"]
    assert (context.verify_mode == ssl.CERT_REQUIRED, context.check_hostname) == (verifies, names)
    assert set(arguments) == {"ssl"}


@pytest.mark.parametrize(
    "query", ["ssl_ca=/nowhere.pem", "ssl_ca={garbage}", "ssl_verify_cert=maybe", "ssl_mode=on"]
)
def test_wrong_arguments(tmp_path: Path, query: str) -> None:
    """An unusable TLS argument stops the start with one sentence and without the password."""
    (tmp_path / "garbage").write_text("no certificate")
    url = f"mysql://u:hunter2@h/images?{query.format(garbage=tmp_path / 'garbage')}"
    with pytest.raises(ConfigurationError, match=r"^Configuration: DB_URL [^\n]+\.$") as refused:
        build_engine(Settings(db_url=url, aws_region="a", aws_s3_bucket="abc"))
    assert "hunter2" not in str(refused.value)
