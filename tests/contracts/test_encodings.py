"""Every name can be stored with any encoding of host and database, or the start is refused."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import make_url, text

from config import Settings, normalise_db_url
from db import build_engine, build_sessions
from devstack.databases import connection, fresh_database
from devstack.service_process import ServiceProcess
from errors import DatabaseUnavailableError
from scripts import create_tables, purge, sweep, verify
from scripts.doctor import __main__ as doctor
from services.readiness import ping
from tests.support.pictures import png
from tests.support.uploads import on_sqlite, serving, upload

NAMES = ["a", "\xe9", "\u20ac", "\u6771", "\U0001f600", "\U0010ffff"]
COMMANDS = [create_tables, doctor, verify, sweep]


@contextmanager
def encoded(server_url: str, encoding: str) -> Iterator[str]:
    """Yield the URL of a new PostgreSQL database with this encoding; drop it afterwards."""
    name = f"test_{secrets.token_hex(6)}"
    with connection(server_url) as server:
        server.exec_driver_sql(
            f"CREATE DATABASE {name} ENCODING '{encoding}' TEMPLATE template0"
            " LC_COLLATE 'C' LC_CTYPE 'C'"
        )
        try:
            url = make_url(normalise_db_url(server_url)).set(database=name)
            yield url.render_as_string(hide_password=False)
        finally:
            server.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")


def holds_every_name(client: TestClient) -> None:
    """Upload, find, list and delete an image with each name."""
    for seed, name in enumerate(NAMES):
        assert upload(client, png(seed=seed), name=name).status_code == 201
        assert client.get(f"/images/{name}").content == png(seed=seed)
        (found,) = client.get("/images", params={"prefix": name}).json()["images"]
        assert found["name"] == name
    listed = client.get("/images").json()["images"]
    assert [image["name"] for image in listed] == NAMES
    for name in NAMES:
        assert client.delete(f"/images/{name}").status_code == 200


@on_sqlite
@pytest.mark.parametrize("encoding", ["UTF8", "SQL_ASCII"])
@pytest.mark.parametrize("wanted", ["", "LATIN1", "SQL_ASCII"])
def test_client_encoding(
    settings: Settings,
    postgres_url: str,
    encoding: str,
    wanted: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Client encodings set by the host, the URL or the database do not affect names."""
    with encoded(postgres_url, encoding) as plain:
        url = plain
        if wanted:
            monkeypatch.setenv("PGCLIENTENCODING", wanted)
            with connection(plain) as db:
                name = make_url(plain).database
                db.execute(text(f"ALTER DATABASE {name} SET client_encoding = {wanted}"))
            url = f"{plain}?client_encoding={wanted}&options=-cclient_encoding%3D{wanted}"
        chosen = settings.model_copy(update={"db_url": url})
        create_tables.create_tables(chosen)
        with serving(chosen) as client:
            holds_every_name(client)
        results = list(doctor.examine(chosen))
        assert not [str(result) for result in results if result.status != "ok"]


@pytest.fixture
def latin(
    service_environment: dict[str, str], postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[dict[str, str]]:
    """Set the environment of commands to a LATIN1 database; yield the variables."""
    with encoded(postgres_url, "LATIN1") as url:
        service_environment["DB_URL"] = url
        for name, value in service_environment.items():
            monkeypatch.setenv(name, value)
        yield service_environment


@on_sqlite
def test_a_database_that_cannot_hold_every_name(
    latin: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    """The start and every command refuse a LATIN1 database in one sentence."""
    service = ServiceProcess(latin)
    with pytest.raises(RuntimeError, match="stopped at once") as stopped, service:
        pytest.fail("the service has started")
    (log,) = stopped.value.__notes__
    (sentence,) = [line for line in log.splitlines() if "LATIN1" in line]
    assert "create it with the encoding UTF8." in sentence
    assert "Traceback" not in log
    for command in (*COMMANDS, purge):
        assert command.main(["nobody"] if command is purge else []) != 0
        printed = capsys.readouterr()
        assert [line for line in (printed.out + printed.err).splitlines() if "LATIN1" in line]


@on_sqlite
def test_a_database_that_turns_out_so_later(latin: dict[str, str]) -> None:
    """A database that was down at the start is refused once it answers."""
    engine = build_engine(Settings(db_url=latin["DB_URL"], aws_region="r", aws_s3_bucket="images"))
    with pytest.raises(DatabaseUnavailableError) as refused:
        ping(build_sessions(engine)())
    assert "LATIN1" in str(refused.value.__cause__)
    engine.dispose()


@on_sqlite
@pytest.mark.parametrize("backend", ["mariadb", "mysql"])
@pytest.mark.parametrize("argument", ["use_unicode=0", "charset=utf8mb4&use_unicode=false"])
def test_text_of_mysql(
    settings: Settings, backend: str, argument: str, request: pytest.FixtureRequest
) -> None:
    """Names are text even if the URL disables Unicode in the driver."""
    with fresh_database(request.getfixturevalue(f"{backend}_url")) as database:
        url = normalise_db_url(f"{database}?{argument}").render_as_string(hide_password=False)
        chosen = settings.model_copy(update={"db_url": url})
        create_tables.create_tables(chosen)
        with serving(chosen) as client:
            holds_every_name(client)
