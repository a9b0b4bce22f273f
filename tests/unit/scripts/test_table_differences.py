"""Differences between a table and its description, found in a real database."""

from collections.abc import Iterator

import pytest
from sqlalchemy import (
    Column,
    Connection,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    create_engine,
    inspect,
    text,
)

from scripts.table_differences import Differences, differences

THINGS = Table(
    "things",
    MetaData(),
    Column("id", Integer, primary_key=True),
    Column("name", String(9), nullable=False, unique=True),
    Column("size", Integer, server_default="0", nullable=False),
    Index("ix_things_size", "size"),
)


@pytest.fixture
def db() -> Iterator[Connection]:
    """Return a connection to an empty database."""
    engine = create_engine("sqlite://")
    with engine.connect() as connection:
        yield connection
    engine.dispose()


def found(db: Connection, *statements: str) -> Differences:
    """Return the differences after these statements."""
    for statement in statements:
        db.execute(text(statement))
    return differences(THINGS, inspect(db))


def test_none(db: Connection) -> None:
    """A table that was created from its declaration lacks nothing."""
    THINGS.create(db)
    same = found(db)
    assert (same.sentence(), same.unique, same.impossible) == ("", [], [])


def test_lacking(db: Connection) -> None:
    """What is missing is named; a column that needs a value cannot be added."""
    lacking = found(db, "CREATE TABLE things (id INTEGER PRIMARY KEY)")
    assert lacking.sentence() == "columns: name, size; indexes: ix_things_size"
    assert lacking.impossible == ["name"]
    assert lacking.unique == ["name"]


@pytest.mark.parametrize(
    ("index", "lacks"),
    [
        ("CREATE UNIQUE INDEX u ON things (name)", []),
        ("CREATE UNIQUE INDEX u ON things (name) WHERE size > 0", ["name"]),
        ("CREATE INDEX i ON things (name)", ["name"]),
    ],
)
def test_unique(db: Connection, index: str, lacks: list[str]) -> None:
    """Any unique index that covers the whole column makes it unique."""
    create = "CREATE TABLE things (id INTEGER PRIMARY KEY, name TEXT, size INTEGER)"
    assert found(db, create, index).unique == lacks
