"""Nothing is written into a SQLite file that is no longer the one in DB_URL."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from config import Settings
from db import build_engine, build_sessions, reading, writing
from errors import DatabaseUnavailableError


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    """Return the engine of a file with a table `t`."""
    url = f"sqlite:///{tmp_path}/a.db"
    engine = build_engine(Settings(db_url=url, aws_region="none", aws_s3_bucket="none"))
    with engine.connect() as connection:
        connection.execute(text("CREATE TABLE t (n INTEGER)"))
    yield engine
    engine.dispose()


def insert(engine: Engine) -> None:
    """Write a row as the service does."""
    with writing(build_sessions(engine)()) as connection:
        connection.execute(text("INSERT INTO t VALUES (1)"))


def count(engine: Engine) -> int:
    """Count the rows as the service reads."""
    with reading(build_sessions(engine)()) as connection:
        return int(connection.execute(text("SELECT count(*) FROM t")).scalar_one())


@pytest.mark.parametrize("change", ["moved", "deleted", "replaced"])
def test_refused(engine: Engine, tmp_path: Path, change: str) -> None:
    """Writes and reads fail instead of going to a file that a restart does not find."""
    file, other = tmp_path / "a.db", tmp_path / "b.db"
    insert(engine)
    if change == "moved":
        file.rename(other)
    elif change == "deleted":
        file.unlink()
    else:
        shutil.copy(file, other)
        other.replace(file)
    for use in (insert, count):
        with pytest.raises(DatabaseUnavailableError) as refused:
            use(engine)
        assert "moved, deleted or replaced" in str(refused.value.__cause__)
    assert file.exists() == (change == "replaced")


def test_moved_back(engine: Engine, tmp_path: Path) -> None:
    """When the file is back, its connections are used again."""
    file, other = tmp_path / "a.db", tmp_path / "b.db"
    file.rename(other)
    with pytest.raises(DatabaseUnavailableError):
        insert(engine)
    other.rename(file)
    insert(engine)
    assert count(engine) == 1
