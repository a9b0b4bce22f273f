"""Oracle and SQL Server without a server: drivers, time limits and error codes."""

import logging
import sys
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy.exc import DBAPIError

from adapters.database_drivers import is_undone
from adapters.engines import build_engine
from config import Settings
from db import build_sessions
from errors import ConfigurationError, DatabaseUnavailableError
from services.readiness import ping

URLS = {"oracle": "oracle://u:hunter2@h/images", "mssql": "mssql://u:hunter2@h/images"}


DRIVERS = {"oracle": "oracledb", "mssql": "pymssql"}


def settings(name: str) -> Settings:
    """Return the settings of a service on this engine."""
    return Settings(db_url=URLS[name], aws_region="none", aws_s3_bucket="none")


@pytest.mark.parametrize("name", URLS)
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
    """Startup warns that the engine is not verified; login and statements have time limits."""
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
