"""Signing in to the database: TLS, passwords and IAM tokens of RDS."""

import os
import re
import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest
from sqlalchemy import Engine, make_url

from adapters import rds_iam
from config import Settings
from db import build_engine, build_sessions, reading
from devstack.databases import connection, disconnect_others
from devstack.service_process import ROOT
from errors import DatabaseUnavailableError
from scripts.create_tables import create_tables
from services.readiness import ping
from tests.support.certificates import encrypt_key, make_certificates
from tests.support.clear_text_server import ClearTextServer
from tests.support.diagnoses import failures
from tests.support.fault_proxy import FaultProxy
from tests.support.private_servers import KINDS, PrivateServer, private_server
from tests.support.secured_database import Database, secured_database

ENCRYPTED = {
    "postgresql": "SELECT version FROM pg_stat_ssl WHERE pid = pg_backend_pid()",
    "mysql": "SHOW STATUS LIKE 'Ssl_version'",
}
CLIENT_HELLO = b"\x16\x03\x01"


@pytest.fixture(scope="module", params=KINDS)
def server(request: pytest.FixtureRequest) -> Iterator[PrivateServer]:
    """Return a server with TLS."""
    with private_server(request.param) as server:
        yield server


@pytest.fixture
def database(server: PrivateServer) -> Iterator[Database]:
    """Return an empty database with its own user."""
    with secured_database(server) as database:
        yield database


@contextmanager
def engine_of(settings: Settings) -> Iterator[Engine]:
    """Yield the engine of a service with these settings."""
    engine = build_engine(settings)
    try:
        yield engine
    finally:
        engine.dispose()


def refusal(settings: Settings) -> str:
    """Return the reason why the database is unavailable."""
    with engine_of(settings) as engine, pytest.raises(DatabaseUnavailableError) as refused:
        ping(build_sessions(engine)())
    assert refused.value.status == 503
    return str(refused.value.__cause__)


def test_encrypted_key(database: Database, tmp_path: Path) -> None:
    """An encrypted TLS key without its password is an error; nobody is asked for it."""
    made = make_certificates(tmp_path)
    encrypt_key(made.key, "hunter2")
    prefix = "ssl" if database.kind == "postgresql" else "ssl_"
    query = {f"{prefix}cert": str(made.certificate), f"{prefix}key": str(made.key)}
    program = (
        "from config import load_settings; from db import build_engine;"
        "build_engine(load_settings()).connect()"
    )
    variables = {"DB_URL": database.url(query=query), "AWS_REGION": "r", "AWS_S3_BUCKET": "images"}
    with subprocess.Popen(
        [sys.executable, "-c", program],
        env=os.environ | variables,
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            assert process.wait(timeout=30) == 1
        finally:
            process.kill()
        assert process.stderr
        assert re.search("could not load private key|TLS .* cannot be read", process.stderr.read())


def test_tls(database: Database) -> None:
    """With the server's CA in the URL the service works, and its connection is encrypted."""
    settings = database.settings()
    create_tables(settings)
    with engine_of(settings) as engine, build_sessions(engine)() as session:
        ping(session)
        with reading(session) as db:
            row = db.exec_driver_sql(ENCRYPTED[database.kind]).one()
    assert row[-1].startswith("TLSv1.")


def test_wrong_ca(database: Database, tmp_path: Path) -> None:
    """A certificate of another CA is refused with 503, and the doctor names the parameters."""
    settings = database.settings(database.url(make_certificates(tmp_path).ca))
    assert "certificate verify failed" in refusal(settings)
    fix = failures(settings)["database answers"]
    assert "sslrootcert" in fix
    assert "ssl_ca" in fix


def test_wrong_name(database: Database) -> None:
    """A certificate for another host name is refused, unless the URL disables that check."""
    create_tables(database.settings())
    assert "localhost" in refusal(database.settings(database.url(host="localhost")))
    on_postgresql = database.kind == "postgresql"
    lenient = {"sslmode": "verify-ca"} if on_postgresql else {"ssl_check_hostname": "false"}
    with engine_of(database.settings(database.url(host="localhost", query=lenient))) as engine:
        ping(build_sessions(engine)())


def test_silent_handshake(database: Database) -> None:
    """A server that stops responding during the TLS handshake costs only the connect timeout."""
    port = make_url(database.root_url).port or 0
    with FaultProxy(("127.0.0.1", port)) as proxy:
        proxy.hold(CLIENT_HELLO, times=None)
        url = make_url(database.url()).set(port=proxy.address[1])
        limits = {"connect_timeout_seconds": 0.5, "db_statement_timeout_seconds": 60.0}
        settings = database.settings(url.render_as_string(hide_password=False), **limits)
        assert "time" in refusal(settings)
        proxy.close_connections()


def test_no_tls(mariadb_url: str, mysql_url: str, tmp_path: Path) -> None:
    """A server without TLS is refused if the URL requires it; `ssl_disabled` disables TLS."""
    ca = make_certificates(tmp_path).ca
    settings = Settings(db_url=f"{mariadb_url}?ssl_ca={ca}", aws_region="a", aws_s3_bucket="abc")
    with connection(mariadb_url) as db:
        has_tls = db.exec_driver_sql("SELECT @@have_ssl").scalar_one() == "YES"
    assert ("certificate verify failed" if has_tls else "SSL is required") in refusal(settings)
    plain = Settings(db_url=f"{mysql_url}?ssl_disabled=true", aws_region="a", aws_s3_bucket="abc")
    with engine_of(plain) as engine, reading(build_sessions(engine)()) as db:
        assert not db.exec_driver_sql(ENCRYPTED["mysql"]).one()[1]


@pytest.mark.parametrize("tls", ["ssl_disabled=true", "ssl_verify_cert=false"])
def test_caching_sha2(mysql_url: str, tls: str) -> None:
    """A caching_sha2_password account can sign in with and without TLS, cached or not."""
    password = secrets.token_hex(8)
    user = f"images_{password}"
    with connection(mysql_url) as db:
        db.exec_driver_sql(
            f"CREATE USER {user} IDENTIFIED WITH caching_sha2_password BY '{password}'"
        )
    try:
        url = make_url(mysql_url).set(
            username=user, password=password, database="information_schema"
        )
        text = f"{url.render_as_string(hide_password=False)}?{tls}"
        for _ in range(2):
            settings = Settings(db_url=text, aws_region="a", aws_s3_bucket="abc")
            with engine_of(settings) as engine, reading(build_sessions(engine)()) as db:
                assert db.exec_driver_sql("SELECT CURRENT_USER()").scalar() == f"{user}@%"
                encrypted = db.exec_driver_sql(ENCRYPTED["mysql"]).one()[1]
            assert bool(encrypted) == (tls != "ssl_disabled=true")
    finally:
        with connection(mysql_url) as db:
            db.exec_driver_sql(f"DROP USER {user}")


class Tokens:
    """Tokens that the database checks: each new token replaces the one before."""

    def __init__(self, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
        self._database = database
        self.given: list[str] = []
        monkeypatch.setattr(rds_iam, "token_source", lambda _url, _region: self._make)

    def _make(self) -> str:
        self.given.append(secrets.token_hex(100))
        self._database.set_password(self.given[-1])
        return self.given[-1]

    def expire(self) -> None:
        """Make the database refuse the last token, too."""
        self._database.set_password(secrets.token_hex(8))


def test_pool_outlives_its_token(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection stays usable after its token expired; its replacement uses a new token."""
    tokens = Tokens(database, monkeypatch)
    settings = database.settings(db_iam_auth=True)
    create_tables(settings)
    with engine_of(settings) as engine:
        session = build_sessions(engine)()
        ping(session)
        first = len(tokens.given)
        tokens.expire()
        ping(session)
        assert len(tokens.given) == first
        disconnect_others(database.root_url)
        with suppress(DatabaseUnavailableError):  # at most the request that detects the loss
            ping(session)
        ping(session)
        assert len(tokens.given) == first + 1


def test_each_connection_has_its_token(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each new connection signs in with its own token."""
    tokens = Tokens(database, monkeypatch)
    with engine_of(database.settings(db_iam_auth=True)) as engine:
        with ExitStack() as stack:
            for _ in range(3):
                stack.enter_context(reading(build_sessions(engine)()))
        assert len(set(tokens.given)) == 3


def test_no_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without AWS credentials the database is unavailable, and the error says why."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    settings = Settings(
        db_url="postgresql://images@127.0.0.1:1/images?sslmode=verify-full",
        db_iam_auth=True,
        aws_region="eu-central-1",
        aws_s3_bucket="none",
    )
    assert "no token for RDS: Unable to locate credentials" in refusal(settings)


@pytest.mark.parametrize("encrypted", [True, False])
def test_clear_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, encrypted: bool) -> None:
    """The token is sent to RDS for MySQL in clear text only over verified TLS."""
    monkeypatch.setattr(rds_iam, "token_source", lambda _url, _region: lambda: "the token")
    made = make_certificates(tmp_path)
    with ClearTextServer(made if encrypted else None) as fake:
        url = f"mysql://images@127.0.0.1:{fake.port}/images?ssl_ca={made.ca}"
        message = refusal(
            Settings(db_url=url, db_iam_auth=True, aws_region="eu-central-1", aws_s3_bucket="none")
        )
    assert fake.passwords == ([b"the token"] if encrypted else [])
    assert ("Access denied" if encrypted else "SSL is required") in message
