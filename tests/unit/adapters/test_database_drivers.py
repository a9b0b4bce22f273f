"""Errors and arguments of the database drivers."""

import sqlite3
from typing import Any

import psycopg2
import pymysql
import pytest
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from adapters.database_drivers import connect_arguments, is_undone, lost_connection
from tests.support.records import SETTINGS


def wrapped(error: Exception, *, dead: bool = False) -> DBAPIError:
    """Return the error as SQLAlchemy raises it."""
    return DBAPIError("INSERT", {}, error, connection_invalidated=dead)


@pytest.mark.parametrize(
    ("code", "undone"), [(1062, True), (1213, True), (1205, True), (1020, True), (1054, False)]
)
def test_undone_in_mysql(code: int, *, undone: bool) -> None:
    """Duplicates, deadlocks and lock waits are retried; invalid SQL is not."""
    assert is_undone(wrapped(pymysql.OperationalError(code, "reason"))) is undone


def test_undone_in_sqlite() -> None:
    """A violation of a unique index is retried; one of NOT NULL is not."""
    engine = create_engine("sqlite://")
    with engine.connect() as connection:
        connection.execute(text("CREATE TABLE t (a PRIMARY KEY, b NOT NULL)"))
        connection.execute(text("INSERT INTO t VALUES (1, 1)"))
        for values, undone in (("1, 1", True), ("2, NULL", False)):
            with pytest.raises(IntegrityError) as refused:
                connection.execute(text(f"INSERT INTO t VALUES ({values})"))  # noqa: S608 - ours
            assert is_undone(refused.value) is undone
    engine.dispose()


def test_not_undone() -> None:
    """A lost connection or a timeout leaves the outcome open, so the transaction is not retried."""
    assert not is_undone(wrapped(pymysql.OperationalError(1213, "reason"), dead=True))
    assert not is_undone(PoolTimeoutError("no free connection"))


@pytest.mark.parametrize(
    ("error", "lost"),
    [
        (wrapped(sqlite3.OperationalError("gone"), dead=True), True),
        (wrapped(sqlite3.OperationalError("gone")), False),
        (wrapped(pymysql.OperationalError(2013, "read timed out"), dead=True), False),
        (pymysql.OperationalError(2006, "gone"), True),
        (pymysql.OperationalError(2013, "lost"), True),
        (pymysql.OperationalError(1927, "killed"), True),
        (pymysql.OperationalError(2013, "lost (timed out)"), False),
        (pymysql.OperationalError(4031, "because of inactivity. See wait_timeout"), True),
        (psycopg2.OperationalError("terminating connection due to idle-session timeout"), True),
        (pymysql.ProgrammingError(1064, "syntax"), False),
        (psycopg2.OperationalError("gone"), True),
        (psycopg2.OperationalError("timeout"), False),
        (psycopg2.ProgrammingError("syntax"), False),
        (ValueError("gone"), False),
        (None, False),
    ],
)
def test_lost_connection(error: BaseException | None, *, lost: bool) -> None:
    """A dead connection is distinguished from a slow server."""
    assert lost_connection(error) is lost


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgresql+psycopg2://h/i", {"connect_timeout": 3, "keepalives_idle": 30}),
        ("postgresql+psycopg2://h/i", {"tcp_user_timeout": 10_000, "client_encoding": "utf8"}),
        ("mysql+pymysql://h/i", {"connect_timeout": 3, "charset": "utf8mb4"}),
        ("sqlite:///i.db", {"timeout": 10}),
    ],
)
def test_bounds(url: str, expected: dict[str, Any]) -> None:
    """Every driver limits its waits to the times of the settings."""
    assert connect_arguments(make_url(url), SETTINGS).items() >= expected.items()


def test_url_decides() -> None:
    """Keepalives in the URL take precedence."""
    arguments = connect_arguments(make_url("postgresql://h/i?keepalives_idle=5"), SETTINGS)
    assert "keepalives_idle" not in arguments
    assert arguments["keepalives_count"] == 3
