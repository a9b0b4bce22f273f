"""Oracle and SQL Server without a server: compiled statements, drivers and error codes."""

import logging
import sys
from datetime import UTC, datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy.exc import DBAPIError

from adapters.column_types import UTCDateTime
from adapters.database_drivers import is_undone
from config import Settings
from db import build_engine, build_sessions
from errors import ConfigurationError, DatabaseUnavailableError
from services.readiness import ping
from tests.tools.dialect_statements import (
    DIALECTS,
    FOLDER,
    Recorder,
    dialect_of,
    functions,
    recorded,
    render,
)

URLS = {"oracle": "oracle://u:hunter2@h/images", "mssql": "mssql://u:hunter2@h/images"}
DRIVERS = {"oracle": "oracledb", "mssql": "pymssql"}


def settings(name: str) -> Settings:
    """Return the settings of a service on this engine."""
    return Settings(db_url=URLS[name], aws_region="none", aws_s3_bucket="none")


@pytest.mark.parametrize("name", DIALECTS)
def test_statements(name: str) -> None:
    """Every table and statement compiles to the reviewed SQL of the engine."""
    expected = (FOLDER / f"{name}.sql").read_text()
    assert render(name) == expected, "python -m tests.tools.dialect_statements"


def test_every_statement_is_compiled() -> None:
    """The compiled statements cover every function of the repositories."""
    called = {function for function, _ in recorded(Recorder(dialect_of("oracle")))}
    assert functions() <= called


def test_no_empty_text() -> None:
    """No statement passes an empty string, which Oracle treats as NULL."""
    recorder = Recorder(dialect_of("oracle"))
    assert sum(len(statements) for _, statements in recorded(recorder)) > 20
    assert not recorder.empty


@pytest.mark.parametrize("name", DIALECTS)
def test_moments(name: str) -> None:
    """A datetime is stored in UTC with microseconds and read back with its time zone."""
    moment = datetime(2026, 1, 1, 1, 0, 0, 123457, timezone(timedelta(hours=2)))
    dialect = dialect_of(name)
    stored = UTCDateTime().process_bind_param(moment, dialect)
    assert stored == datetime(2025, 12, 31, 23, 0, 0, 123457)  # noqa: DTZ001
    assert UTCDateTime().process_result_value(stored, dialect) == moment.astimezone(UTC)


@pytest.mark.parametrize("name", DIALECTS)
def test_missing_driver(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the driver the start fails with one sentence that says how to install it."""
    monkeypatch.setitem(sys.modules, DRIVERS[name], None)
    with pytest.raises(ConfigurationError) as refused:
        build_engine(settings(name))
    assert f"`pip install {DRIVERS[name]}`" in str(refused.value)
    assert "hunter2" not in str(refused.value)


class StubError(Exception):
    """The base class of a driver's errors."""


def test_not_verified(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """The start warns that the engine is not verified; login and statements have time limits."""
    asked: list[dict[str, Any]] = []

    def connect(**options: Any) -> None:
        asked.append(options)
        raise StubError("connection refused")

    stub = SimpleNamespace(__version__="2.3.9", paramstyle="pyformat", connect=connect)
    stub.Error = StubError
    monkeypatch.setitem(sys.modules, "pymssql", stub)
    with caplog.at_level(logging.WARNING, "image_api"):
        engine = build_engine(settings("mssql"))
    assert "SQL Server is not verified" in caplog.text
    with pytest.raises(DatabaseUnavailableError):
        ping(build_sessions(engine)())
    assert (asked[0]["login_timeout"], asked[0]["timeout"]) == (3, 10)
    assert asked[0]["use_datetime2"]


@pytest.mark.parametrize(
    ("error", "undone"),
    [
        (StubError(2627, b"Violation of UNIQUE KEY constraint"), True),
        (StubError(1205, b"Transaction was deadlocked"), True),
        (StubError(207, b"Invalid column name"), False),
        (StubError(SimpleNamespace(code=1)), True),
        (StubError(SimpleNamespace(code=8177)), True),
        (StubError(SimpleNamespace(code=942)), False),
        (StubError(), False),
    ],
)
def test_undone(error: Exception, *, undone: bool) -> None:
    """Unique violations, deadlocks and serialization failures are retried; other errors are not."""
    assert is_undone(DBAPIError("INSERT", {}, error)) is undone
