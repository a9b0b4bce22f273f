"""`python -m scripts.doctor` finds each fault of a real database."""

from pathlib import Path

import pytest
from sqlalchemy import text

from adapters import engines
from config import Settings, normalise_db_url
from devstack.databases import connection, fresh_database
from scripts.create_tables import create_tables
from scripts.doctor import __main__ as doctor
from scripts.doctor import database_checks
from scripts.doctor.checks import Status
from tests.support.diagnoses import failures, problems
from tests.support.tables import drop_index


def on_database(settings: Settings, url: str) -> Settings:
    """Return the settings with this database."""
    return settings.model_copy(
        update={"db_url": normalise_db_url(url).render_as_string(hide_password=False)}
    )


def failures_after(settings: Settings, server_url: str, *statements: str) -> dict[str, str]:
    """Run the statements on a new database; return the failed checks and their fixes."""
    with fresh_database(server_url) as url:
        damaged = on_database(settings, url)
        create_tables(damaged)
        with connection(url) as opened:
            for statement in statements:
                opened.execute(text(statement))
        return failures(damaged)


@pytest.fixture(params=["sqlite", "postgresql", "mariadb"])
def server_url(request: pytest.FixtureRequest) -> str:
    """Return the URL of a server; the test runs on every engine."""
    fixture = {"postgresql": "postgres_url", "mariadb": "mariadb_url"}.get(request.param)
    return request.getfixturevalue(fixture) if fixture else "sqlite://"


@pytest.fixture
def base_settings() -> Settings:
    """Return settings with a placeholder for the database that each test sets."""
    return Settings(db_url="sqlite:////nowhere/a.db", aws_region="none", aws_s3_bucket="none")


@pytest.fixture(autouse=True)
def _no_bucket_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Skip the checks of the bucket."""
    monkeypatch.setattr(doctor, "BUCKET_CHECKS", ())


def test_missing_table(base_settings: Settings, server_url: str) -> None:
    """A missing table is the only failure."""
    found = failures_after(base_settings, server_url, "DROP TABLE pending_objects")
    assert found == {"tables": "run `python -m scripts.create_tables`"}


def test_missing_columns(base_settings: Settings, server_url: str) -> None:
    """Missing columns are named in the failure."""
    with fresh_database(server_url) as url:
        damaged = on_database(base_settings, url)
        create_tables(damaged)
        with connection(url) as opened:
            opened.execute(text("ALTER TABLE pending_objects DROP COLUMN claimed_at"))
        found = problems(damaged)["tables"]
    assert found.status is Status.FAILED
    assert found.seen == "table pending_objects lacks columns: claimed_at"


def test_missing_index(base_settings: Settings, server_url: str) -> None:
    """A missing index is named, and `create_tables` adds it."""
    with fresh_database(server_url) as url:
        damaged = on_database(base_settings, url)
        create_tables(damaged)
        drop_index(url, "images_by_last_update", "images")
        found = problems(damaged)["tables"]
        assert found.seen == "table images lacks indexes: images_by_last_update"
        assert create_tables(damaged)[1] == "Index images_by_last_update added."
        assert "tables" not in problems(damaged)


def test_database_away(base_settings: Settings) -> None:
    """An unreachable database is one failure."""
    for url in (base_settings.db_url, "postgresql://postgres@127.0.0.1:1/images"):
        found = failures(on_database(base_settings, url))
        assert list(found) == ["database answers"]
        assert "DB_URL" in found["database answers"]


@pytest.mark.parametrize(
    ("statement", "title"),
    [
        ("ALTER TABLE images MODIFY name VARCHAR(255) NOT NULL", "names compare byte for byte"),
        (
            "ALTER TABLE images MODIFY name VARCHAR(255) COLLATE utf8mb4_bin NOT NULL",
            "names compare byte for byte",
        ),
        (
            "ALTER TABLE pending_objects MODIFY s3_key VARCHAR(255) NOT NULL",
            "names compare byte for byte",
        ),
        ("ALTER TABLE images MODIFY last_updated_at DATETIME NOT NULL", "microseconds"),
        ("ALTER TABLE pending_objects ENGINE = Aria TRANSACTIONAL = 0", "rollback"),
        ("ALTER TABLE images DROP INDEX name", "uniqueness"),
    ],
)
def test_damaged_mariadb(
    base_settings: Settings, mariadb_url: str, statement: str, title: str
) -> None:
    """The doctor finds unsafe column, index and engine definitions on MariaDB."""
    assert title in failures_after(base_settings, mariadb_url, statement)


@pytest.mark.parametrize(
    ("statement", "title"),
    [
        ("CREATE UNIQUE INDEX ON images (lower(name))", "names compare byte for byte"),
        ("ALTER TABLE images ALTER COLUMN last_updated_at TYPE timestamptz(0)", "microseconds"),
        ("ALTER TABLE images DROP CONSTRAINT images_s3_key_key", "uniqueness"),
    ],
)
def test_damaged_postgresql(
    base_settings: Settings, postgres_url: str, statement: str, title: str
) -> None:
    """The doctor finds PostgreSQL tables that merge names, round times or lack a unique index."""
    assert list(failures_after(base_settings, postgres_url, statement)) == [title]


def test_wrong_order(base_settings: Settings, postgres_url: str) -> None:
    """The doctor finds a collation that does not order names by their bytes."""
    with connection(postgres_url) as opened:
        if not opened.scalar(text("SELECT 1 FROM pg_collation WHERE collname = 'en-x-icu'")):
            pytest.skip("this PostgreSQL has no ICU, so all its collations are binary")
    change = 'ALTER TABLE images ALTER COLUMN name TYPE varchar(255) COLLATE "en-x-icu"'
    assert list(failures_after(base_settings, postgres_url, change)) == [
        "names compare byte for byte"
    ]


def test_volatile_commits_on_postgresql(base_settings: Settings, postgres_url: str) -> None:
    """Commits that PostgreSQL acknowledges before they are on disk are found."""
    change = (
        "DO $$ BEGIN EXECUTE format("
        "'ALTER DATABASE %I SET synchronous_commit = off', current_database()); END $$"
    )
    assert list(failures_after(base_settings, postgres_url, change)) == ["durable commits"]


def test_volatile_commits_on_mariadb(
    base_settings: Settings, mariadb_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The setting of MySQL and MariaDB is read; only all sessions of a server can have another."""
    assert failures_after(base_settings, mariadb_url) == {}
    monkeypatch.setitem(database_checks._VOLATILE, "innodb_flush_log_at_trx_commit", {"1"})
    assert list(failures_after(base_settings, mariadb_url)) == ["durable commits"]


def test_isolation(
    base_settings: Settings, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The doctor finds an isolation level other than READ COMMITTED."""
    monkeypatch.setattr(engines, "WRITE_LEVEL", "REPEATABLE READ")
    assert list(failures_after(base_settings, postgres_url)) == ["isolation level"]


def test_read_only(base_settings: Settings, tmp_path: Path) -> None:
    """The doctor finds read-only tables, and blames neither collations nor indexes for them."""
    url = f"sqlite:///{tmp_path}/images.db"
    create_tables(on_database(base_settings, url))
    read_only = f"sqlite:///file:{tmp_path}/images.db?mode=ro&uri=true"
    found = failures(on_database(base_settings, read_only))
    assert list(found) == ["permissions in the database"]
    assert "grant SELECT, INSERT, UPDATE and DELETE" in found["permissions in the database"]
