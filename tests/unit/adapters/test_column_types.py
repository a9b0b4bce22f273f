"""Moments are stored in UTC on every engine."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from adapters.column_types import UTCDateTime
from tests.tools.dialect_statements import DIALECTS, dialect_of


@pytest.mark.parametrize("name", DIALECTS)
def test_moments(name: str) -> None:
    """A datetime is stored in UTC with microseconds and read back with its time zone."""
    moment = datetime(2026, 1, 1, 1, 0, 0, 123457, timezone(timedelta(hours=2)))
    dialect = dialect_of(name)
    stored = UTCDateTime().process_bind_param(moment, dialect)
    assert stored == datetime(2025, 12, 31, 23, 0, 0, 123457)  # noqa: DTZ001
    assert UTCDateTime().process_result_value(stored, dialect) == moment.astimezone(UTC)
