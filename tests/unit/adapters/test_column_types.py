"""Every engine compares text by its bytes and stores times in UTC."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from sqlalchemy import Dialect
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.dialects.mysql import mariadb

from adapters.column_types import ExactText, UTCDateTime
from tests.tools.dialect_statements import DIALECTS, dialect_of


@pytest.mark.parametrize("name", DIALECTS)
def test_moments(name: str) -> None:
    """A datetime is stored in UTC with microseconds and read back with its time zone."""
    moment = datetime(2026, 1, 1, 1, 0, 0, 123457, timezone(timedelta(hours=2)))
    dialect = dialect_of(name)
    stored = UTCDateTime().process_bind_param(moment, dialect)
    assert stored == datetime(2025, 12, 31, 23, 0, 0, 123457)  # noqa: DTZ001
    assert UTCDateTime().process_result_value(stored, dialect) == moment.astimezone(UTC)


@pytest.mark.parametrize(
    ("dialect", "text", "moment"),
    [
        (
            postgresql.dialect(),  # type: ignore[no-untyped-call]
            'VARCHAR(9) COLLATE "C"',
            "TIMESTAMP WITH TIME ZONE",
        ),
        (
            mysql.dialect(),
            "VARCHAR(9) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin",
            "DATETIME(6)",
        ),
        (
            mariadb.MariaDBDialect(),
            "VARCHAR(9) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin",
            "DATETIME(6)",
        ),
        (sqlite.dialect(), "VARCHAR(9)", "DATETIME"),
    ],
    ids=["PostgreSQL", "MySQL", "MariaDB", "SQLite"],
)
def test_types(dialect: Dialect, text: str, moment: str) -> None:
    """Each engine has a collation that compares bytes, and keeps microseconds."""
    assert ExactText(9).compile(dialect=dialect) == text
    assert UTCDateTime().compile(dialect=dialect) == moment
