"""Fixtures for real object stores, real databases and the service itself.

After every test that uses `settings`, a fixture compares the bucket with the tables and fails the
test if an invariant of the write protocol is violated. Tests that plant damage are marked with
`@pytest.mark.planted_damage`.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import exc, text

from config import Settings
from devstack.databases import connection, disconnect_others, engine_for, fresh_database
from devstack.object_store import ObjectStore
from devstack.postgresql import postgres
from devstack.service_process import ServiceProcess
from telemetry.log import JsonFormatter
from tests.support.invariants import violations
from tests.support.log_secrets import secrets_in
from tests.support.stores import STORES, chosen_stores
from tests.support.unverified_servers import LOCK_TIMEOUTS, NAMED_ENGINES, named_database

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

ENGINES = ["sqlite", "postgresql", "mariadb", "mysql"]
CONTRACT_ENGINES = [*ENGINES, *NAMED_ENGINES]
_LOCK_TIMEOUT = {
    "sqlite": "PRAGMA busy_timeout = 2000",
    "postgresql": "SET lock_timeout = '2s'",
    "mysql": "SET lock_wait_timeout = 2, innodb_lock_wait_timeout = 2",
    **LOCK_TIMEOUTS,
}


def pytest_configure(config: pytest.Config) -> None:
    """Register the markers, and search the log of every service process for secrets."""
    ServiceProcess.on_end.append(_require_no_secrets)
    config.addinivalue_line(
        "markers", "planted_damage: the test leaves bucket and tables inconsistent on purpose"
    )


def _require_no_secrets(service: ServiceProcess) -> None:
    found = secrets_in(service.log(), service.environment)
    assert not found, f"the service logged secrets: {found}"


# Servers: started once per session.


@pytest.fixture(scope="session")
def object_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    """Run the store that TEST_OBJECT_STORE names, or SeaweedFS, and export its credentials."""
    with (
        STORES[chosen_stores()[0]].run(tmp_path_factory.mktemp("objects")) as store,
        pytest.MonkeyPatch.context() as environment,
    ):
        environment.setenv("AWS_ACCESS_KEY_ID", store.access_key)
        environment.setenv("AWS_SECRET_ACCESS_KEY", store.secret_key)
        yield store


@pytest.fixture(scope="session")
def s3(object_store: ObjectStore) -> Iterator["S3Client"]:
    """Return a boto3 client with direct access to the buckets."""
    client = object_store.client()
    yield client
    client.close()


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """Return the URL of the PostgreSQL server: TEST_DB_URL, or an embedded one."""
    with postgres(os.environ.get("TEST_DB_URL")) as url:
        yield url


@pytest.fixture(scope="session")
def mariadb_url() -> str:
    """Return the URL of the MariaDB server; skip without one, or fail if REQUIRE_SERVICES is 1."""
    return _server("MariaDB", "TEST_MARIADB_URL")


@pytest.fixture(scope="session")
def mysql_url() -> str:
    """Return the URL of the MySQL server; skip without one, or fail if REQUIRE_SERVICES is 1."""
    return _server("MySQL", "TEST_MYSQL_URL")


def _server(kind: str, variable: str) -> str:
    if url := os.environ.get(variable):
        return url
    reason = f"{variable} is not set, so tests on {kind} cannot run"
    if os.environ.get("REQUIRE_SERVICES") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


# Databases: created once per engine and session, emptied before each test.


@contextmanager
def _with_tables(database: AbstractContextManager[str]) -> Iterator[str]:
    from scripts.create_tables import create_tables  # noqa: PLC0415 - unneeded by most project tests

    with database as url:
        create_tables(Settings(db_url=url, aws_region="none", aws_s3_bucket="none"))
        yield url


@pytest.fixture(scope="session")
def sqlite_database() -> Iterator[str]:
    """Return the URL of the session's SQLite database, with tables."""
    with _with_tables(fresh_database("sqlite://")) as url:
        yield url


@pytest.fixture(scope="session")
def postgresql_database(postgres_url: str) -> Iterator[str]:
    """Return the URL of the session's PostgreSQL database, with tables."""
    with _with_tables(fresh_database(postgres_url)) as url:
        yield url


@pytest.fixture(scope="session")
def mariadb_database(mariadb_url: str) -> Iterator[str]:
    """Return the URL of the session's MariaDB database, with tables."""
    with _with_tables(fresh_database(mariadb_url)) as url:
        yield url


@pytest.fixture(scope="session")
def mysql_database(mysql_url: str) -> Iterator[str]:
    """Return the URL of the session's MySQL database, with tables."""
    with _with_tables(fresh_database(mysql_url)) as url:
        yield url


@pytest.fixture(scope="session")
def oracle_database() -> Iterator[str]:
    """Return the URL of the Oracle database that is named, with tables."""
    with _with_tables(named_database("oracle")) as url:
        yield url


@pytest.fixture(scope="session")
def mssql_database() -> Iterator[str]:
    """Return the URL of the SQL Server database that is named, with tables."""
    with _with_tables(named_database("mssql")) as url:
        yield url


def _empty_tables(url: str) -> None:
    with connection(url) as db:
        db.execute(text(_LOCK_TIMEOUT[db.dialect.name]))
        db.execute(text("DELETE FROM images"))
        db.execute(text("DELETE FROM variants"))
        db.execute(text("DELETE FROM pending_objects"))


@pytest.fixture(params=ENGINES)
def database_url(request: pytest.FixtureRequest) -> str:
    """Return the URL of a database with empty tables; the test runs on every engine."""
    url: str = request.getfixturevalue(f"{request.param}_database")
    try:
        _empty_tables(url)
    except exc.DBAPIError:  # the previous test left a transaction open, which holds locks
        disconnect_others(url)
        _empty_tables(url)
    return url


# Buckets.


@pytest.fixture(scope="session")
def new_bucket(s3: "S3Client") -> Callable[[], str]:
    """Return a function that creates a bucket. The first PUT to a new bucket takes 0.2 s."""

    def make() -> str:
        name = f"images-{uuid4().hex[:12]}"
        s3.create_bucket(Bucket=name)
        return name

    return make


@pytest.fixture(scope="session")
def _session_bucket(new_bucket: Callable[[], str]) -> str:
    return new_bucket()


@pytest.fixture
def bucket(s3: "S3Client", _session_bucket: str) -> str:
    """Return the name of an empty bucket."""
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=_session_bucket):
        for entry in page.get("Contents", []):
            s3.delete_object(Bucket=_session_bucket, Key=entry["Key"])
    return _session_bucket


# The service.


@pytest.fixture
def settings(database_url: str, bucket: str, object_store: ObjectStore) -> Settings:
    """Return the settings of a service with an empty database and an empty bucket."""
    return Settings(
        db_url=database_url,
        aws_region=object_store.region,
        aws_s3_bucket=bucket,
        aws_endpoint_url_s3=object_store.endpoint_url,
    )


@pytest.fixture(autouse=True)
def _invariants_hold(request: pytest.FixtureRequest) -> Iterator[None]:
    """Check the invariants of the write protocol after every test that uses `settings`."""
    if "settings" not in request.fixturenames or request.node.get_closest_marker("planted_damage"):
        yield
        return
    settings: Settings = request.getfixturevalue("settings")
    s3: S3Client = request.getfixturevalue("s3")
    yield
    engine = engine_for(settings.db_url)
    found = violations(engine, s3, settings.aws_s3_bucket)
    engine.dispose()
    assert not found, "\n".join(found)


@pytest.fixture(autouse=True)
def _no_secret_is_logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Search all log records of the test process for secrets."""
    yield
    records = [*caplog.get_records("setup"), *caplog.get_records("call")]
    lines = "\n".join(JsonFormatter().format(record) for record in records)
    found = secrets_in(lines, os.environ)
    assert not found, f"the test process logged secrets: {found}"


@pytest.fixture
def app(settings: Settings) -> FastAPI:
    """Return the application without starting it."""
    from main import create_app  # noqa: PLC0415 - unneeded by most project tests

    return create_app(settings)


@pytest.fixture
def client(app: FastAPI) -> Iterator[TestClient]:
    """Run the application in this process and return a client for it."""
    with TestClient(app) as client:
        yield client


@pytest.fixture
def service_environment(settings: Settings, object_store: ObjectStore) -> dict[str, str]:
    """Return the environment variables that a service process needs."""
    return {
        **object_store.environment(),
        "DB_URL": settings.db_url,
        "AWS_S3_BUCKET": settings.aws_s3_bucket,
    }


@pytest.fixture
def service(service_environment: dict[str, str]) -> Iterator[ServiceProcess]:
    """Run the service as a separate process."""
    with ServiceProcess(service_environment) as process:
        yield process
