"""`python -m scripts.create_tables` creates and upgrades the tables on every engine."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import Inspector, Table, insert, inspect, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.schema import CreateColumn

from config import Settings
from db import Base, Image, build_engine
from devstack.databases import connection, engine_for, fresh_database
from devstack.service_process import ROOT
from devstack.waiting import wait_until
from scripts.create_tables import TableError, create_tables, main
from scripts.table_differences import Differences, differences
from tests.conftest import ENGINES
from tests.support.tables import drop_index

Command = Callable[[str], tuple[int, str, str]]
SERVERS = {"postgresql": "postgres_url", "mariadb": "mariadb_url"}
CREATED = ["Table images created.", "Table pending_objects created.", "Table variants created."]
EXIST = ["Table images exists.", "Table pending_objects exists.", "Table variants exists."]


@pytest.fixture(params=ENGINES)
def empty(request: pytest.FixtureRequest) -> Iterator[str]:
    """Return the URL of an empty database; the test runs on every engine."""
    server = SERVERS.get(request.param)
    with fresh_database(request.getfixturevalue(server) if server else "sqlite://") as url:
        yield url


def settings_for(url: str) -> Settings:
    """Return settings that name this database."""
    return Settings(db_url=url, aws_region="none", aws_s3_bucket="none")


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Return a function that runs the command and returns exit status, stdout and stderr."""

    def run(url: str) -> tuple[int, str, str]:
        for name, value in variables(url).items():
            monkeypatch.setenv(name, value)
        return main([]), *capsys.readouterr()

    return run


def variables(url: str) -> dict[str, str]:
    """Return the required environment variables."""
    return {"DB_URL": url, "AWS_REGION": "none", "AWS_S3_BUCKET": "none"}


def test_command(empty: str, command: Command) -> None:
    """The first run creates the tables, the second changes nothing; both print what they did."""
    for lines in (CREATED, EXIST):
        assert command(empty) == (0, "\n".join([*lines, ""]), "")


def test_rows_stay(empty: str) -> None:
    """A second run keeps the rows."""
    create_tables(settings_for(empty))
    with connection(empty) as db:
        db.execute(
            text("INSERT INTO pending_objects VALUES ('key', 'U', '2026-01-01 00:00:00', NULL)")
        )
        assert create_tables(settings_for(empty)) == EXIST
        assert db.scalar(text("SELECT count(*) FROM pending_objects")) == 1


def test_missing_columns(empty: str, command: Command) -> None:
    """If a table lacks columns, the command fails, names them and changes nothing."""
    create_tables(settings_for(empty))
    with connection(empty) as db:
        db.execute(text("DROP TABLE images"))
        db.execute(text("CREATE TABLE images (id integer, name varchar(255), size_bytes bigint)"))
    with pytest.raises(TableError) as refused:
        create_tables(settings_for(empty))
    sentence = str(refused.value)
    assert sentence.startswith("Table images lacks columns: ")
    named = sentence.removesuffix(".").partition(": ")[2].split(", ")
    rest = ["content_type", "created_at", "extension", "height", "last_updated_at", "s3_key"]
    assert named == [*rest, "sha256", "width"]
    engine = engine_for(empty)
    assert len(inspect(engine).get_columns("images")) == 3
    assert command(empty) == (1, "", f"{sentence}\n")


def test_additions(empty: str, command: Command) -> None:
    """Missing nullable columns and indexes are added to tables with rows, and printed once."""
    create_tables(settings_for(empty))
    drop_index(empty, "images_by_last_update", "images")
    drop_index(empty, "pending_objects_by_age", "pending_objects")
    with connection(empty) as db:
        db.execute(text("ALTER TABLE pending_objects DROP COLUMN claimed_at"))
        db.execute(text("INSERT INTO pending_objects VALUES ('key', 'U', '2026-01-01 00:00:00')"))
    added = list(EXIST)
    added[1:1] = ["Index images_by_last_update added."]
    added[3:3] = ["Column pending_objects.claimed_at added.", "Index pending_objects_by_age added."]
    for lines in (added, EXIST):
        assert command(empty) == (0, "\n".join([*lines, ""]), "")
    with connection(empty) as db:
        found = db.execute(text("SELECT s3_key, claimed_at FROM pending_objects")).all()
    assert [tuple(row) for row in found] == [("key", None)]


def test_additions_while_written_to(postgres_url: str) -> None:
    """On PostgreSQL adding an index does not block writers."""
    with fresh_database(postgres_url) as url, ThreadPoolExecutor(1) as thread:
        create_tables(settings_for(url))
        drop_index(url, "images_by_last_update", "images")
        with engine_for(url).connect() as writer:
            writer.execute(insert(Image).values(GOOD))  # an open transaction
            adding = thread.submit(create_tables, settings_for(url))
            with connection(url) as db:
                waits = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
                wait_until(lambda: bool(db.scalar(waits)), timeout=20, what="the index")
                db.execute(text("SET statement_timeout = '5s'"))
                db.execute(insert(Image).values({**GOOD, "name": "b", "s3_key": "l"}))
            writer.commit()
        assert "Index images_by_last_update added." in adding.result(timeout=20)


def test_interrupted_index(postgres_url: str) -> None:
    """An index whose creation was interrupted, which PostgreSQL does not use, is created again."""
    with fresh_database(postgres_url) as url:
        create_tables(settings_for(url))
        with connection(url) as db:
            index = "indexrelid = CAST('images_by_last_update' AS regclass)"
            db.execute(text(f"UPDATE pg_index SET indisvalid = false WHERE {index}"))  # noqa: S608
        assert create_tables(settings_for(url))[1] == "Index images_by_last_update added."
        assert create_tables(settings_for(url)) == EXIST


def test_interrupted_unique_index(postgres_url: str) -> None:
    """A unique index whose creation was interrupted does not count."""
    with fresh_database(postgres_url) as url:
        create_tables(settings_for(url))
        with connection(url) as db:
            db.execute(text("ALTER TABLE images DROP CONSTRAINT images_name_key"))
            db.execute(text("CREATE UNIQUE INDEX by_name ON images (name)"))
            create_tables(settings_for(url))
            index = "indexrelid = CAST('by_name' AS regclass)"
            db.execute(text(f"UPDATE pg_index SET indisvalid = false WHERE {index}"))  # noqa: S608
        with pytest.raises(TableError, match="lacks unique indexes on: name"):
            create_tables(settings_for(url))


def test_index_that_is_being_built(postgres_url: str) -> None:
    """A second run waits for the index that the first one builds, and neither fails."""
    with fresh_database(postgres_url) as url, ThreadPoolExecutor(2) as threads:
        create_tables(settings_for(url))
        drop_index(url, "images_by_last_update", "images")
        with engine_for(url).connect() as writer, connection(url) as db:
            writer.execute(insert(Image).values(GOOD))  # the build waits for this transaction
            first = threads.submit(create_tables, settings_for(url))
            building = text("SELECT count(*) FROM pg_index WHERE NOT indisvalid")
            wait_until(lambda: bool(db.scalar(building)), timeout=20, what="the index")
            built = db.scalar(text("SELECT max(indexrelid) FROM pg_index WHERE NOT indisvalid"))
            second = threads.submit(create_tables, settings_for(url))
            time.sleep(2.5)  # longer than PostgreSQL waits before it looks for deadlocks
            writer.commit()
            assert first.result(timeout=20)[1] == "Index images_by_last_update added."
            assert second.result(timeout=20) == EXIST
            index = text("SELECT to_regclass('images_by_last_update')::oid")
            assert db.scalar(index) == built


def test_faster_run(empty: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run finds that another one has just added a column, and then an index of the same table."""
    create_tables(settings_for(empty))
    table = Base.metadata.tables["pending_objects"]
    index, column = next(iter(table.indexes)), table.columns["claimed_at"]
    stale = [Differences([column], [index], []), Differences([], [index], [])]

    def late(compared: Table, existing: Inspector) -> Differences:
        return stale.pop(0) if compared is table and stale else differences(compared, existing)

    monkeypatch.setattr("scripts.create_tables.differences", late)
    assert create_tables(settings_for(empty)) == EXIST
    assert not stale


def test_other_index_of_the_same_name(empty: str, command: Command) -> None:
    """An index of the operator that has the name of a missing one is kept."""
    create_tables(settings_for(empty))
    drop_index(empty, "images_by_last_update", "images")
    with connection(empty) as db:
        db.execute(text("CREATE INDEX images_by_last_update ON images (width)"))
        status, out, err = command(empty)
        assert (status, out) == (1, "")
        assert "images_by_last_update" in err
        names = {one["name"]: one["column_names"] for one in inspect(db).get_indexes("images")}
        assert names["images_by_last_update"] == ["width"]


WAITING = {
    "postgresql": "SELECT count(*) FROM pg_locks WHERE NOT granted",
    "mysql": "SELECT count(*) FROM information_schema.processlist"
    " WHERE state = 'Waiting for table metadata lock'",
}
PATIENCE = {"postgresql": "SET statement_timeout = '5s'", "mysql": "SET lock_wait_timeout = 5"}


@pytest.mark.parametrize("empty", ["postgresql", "mariadb"], indirect=True)
def test_column_while_a_transaction_reads(empty: str) -> None:
    """A transaction that reads a table for long delays a new column, but no other reader."""
    create_tables(settings_for(empty))
    with connection(empty) as db:
        db.execute(text("ALTER TABLE pending_objects DROP COLUMN claimed_at"))
    with ThreadPoolExecutor(1) as thread, connection(empty) as db:
        dialect = "mysql" if db.dialect.name == "mariadb" else db.dialect.name
        with engine_for(empty).connect() as long:
            long.execute(text("SELECT count(*) FROM pending_objects"))  # as `verify` does
            adding = thread.submit(create_tables, settings_for(empty))
            waits = text(WAITING[dialect])
            wait_until(lambda: bool(db.scalar(waits)), timeout=20, what="the column to wait")
            db.execute(text(PATIENCE[dialect]))
            assert db.scalar(text("SELECT count(*) FROM pending_objects")) == 0
            assert not adding.done()
        assert "Column pending_objects.claimed_at added." in adding.result(timeout=60)


INDEX = {
    "sqlite": "CREATE UNIQUE INDEX partly ON images (name) WHERE id > 3",
    "postgresql": "CREATE UNIQUE INDEX partly ON images (name) WHERE id > 3",
    "mysql": "CREATE UNIQUE INDEX partly ON images (name(9))",
}


def test_missing_unique_indexes(empty: str, command: Command) -> None:
    """If a table lacks unique indexes, the command fails and names their columns."""
    with connection(empty) as db:
        for table in Base.metadata.sorted_tables:
            columns = ", ".join(str(CreateColumn(column).compile(db)) for column in table.columns)
            columns = columns.replace(" AUTO_INCREMENT", "")  # requires an index
            db.exec_driver_sql(f"CREATE TABLE {table.name} ({columns})")
        db.execute(text(INDEX[db.dialect.name]))  # a partial index does not suffice
        db.execute(text("CREATE INDEX slow ON images (s3_key)"))
        sentence = "Table images lacks unique indexes on: id, name, s3_key.\n"
        assert command(empty) == (1, "", sentence)
        for column in ("id", "name", "s3_key"):
            db.execute(text(f"CREATE UNIQUE INDEX unique_{column} ON images ({column})"))
        sentence = "Table pending_objects lacks unique indexes on: s3_key.\n"
        assert command(empty) == (1, "", sentence)
        db.execute(text("CREATE UNIQUE INDEX unique_key ON pending_objects (s3_key)"))
        assert command(empty)[2].startswith("Table variants lacks unique indexes on: original_key")
        db.execute(text("CREATE UNIQUE INDEX unique_spec ON variants (original_key, spec)"))
        db.execute(text("CREATE UNIQUE INDEX unique_variant ON variants (s3_key)"))
        assert command(empty)[::2] == (0, "")


def test_help(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """`--help` prints the help without any setting."""
    monkeypatch.delenv("DB_URL", raising=False)
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    assert (
        "Create the tables, and add to them what a newer version needs." in capsys.readouterr().out
    )


def test_at_the_same_time(postgres_url: str) -> None:
    """A second run waits for a concurrent first one, and then succeeds."""
    with (
        fresh_database(postgres_url) as url,
        ThreadPoolExecutor(1) as thread,
        connection(url) as db,
    ):
        with engine_for(url).begin() as first:
            Base.metadata.create_all(first)
            second = thread.submit(create_tables, settings_for(url))
            waits = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
            wait_until(lambda: bool(db.scalar(waits)), timeout=20, what="the second run to wait")
        assert len(second.result(timeout=20)) == 3


GOOD = {
    "name": "a",
    "size_bytes": 1,
    "extension": "png",
    "content_type": "image/png",
    "sha256": "0" * 64,
    "width": 1,
    "height": 1,
    "s3_key": "k",
    **dict.fromkeys(("created_at", "last_updated_at"), datetime(2026, 1, 1, tzinfo=UTC)),
}
IMPOSSIBLE: list[dict[str, Any]] = [
    {"size_bytes": 0},
    {"size_bytes": None},
    {"width": 0},
    {"height": -1},
    {"sha256": "0"},
    {"sha256": None},
    {"content_type": None},
    {"last_updated_at": datetime(2025, 1, 1, tzinfo=UTC)},
]


def test_constraints(empty: str) -> None:
    """The database refuses duplicate names and keys, and rows with impossible values."""
    create_tables(settings_for(empty))
    engine = build_engine(settings_for(empty))
    with engine.begin() as db:
        db.execute(insert(Image).values(GOOD))
        db.execute(insert(Image).values({**GOOD, "name": "A", "s3_key": "K"}))
    for change in [
        {"name": "b"},
        {"s3_key": "l"},
        *({"name": "b", "s3_key": "l"} | u for u in IMPOSSIBLE),
    ]:
        with pytest.raises(DBAPIError), engine.begin() as db:
            db.execute(insert(Image).values({**GOOD, **change}))
    engine.dispose()


def test_unreachable() -> None:
    """An unreachable database is reported in one sentence, without traceback or password."""
    url = "postgresql://user:hunter2@127.0.0.1:1/none"
    done = subprocess.run(
        [sys.executable, "-m", "scripts.create_tables"],
        cwd=ROOT,
        env={**os.environ, **variables(url)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("The database refused: ")
    assert "Traceback" not in done.stderr
    assert "hunter2" not in done.stderr
