"""PyMySQL reads and writes times in UTC."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from pymysql.constants import FIELD_TYPE

from adapters.mysql_sessions import arguments

MOMENT = datetime(2026, 1, 2, 3, 4, 5, 6, UTC)
ELSEWHERE = timezone(timedelta(hours=5))


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-01-02 03:04:05.000006", MOMENT),
        ("2026-01-02 03:04:05", MOMENT.replace(microsecond=0)),
    ],
)
def test_read(text: str, moment: datetime) -> None:
    """A time without a time zone is read as UTC."""
    assert arguments()["conv"][FIELD_TYPE.DATETIME](text) == moment


@pytest.mark.parametrize(
    "moment", [MOMENT, MOMENT.astimezone(ELSEWHERE), MOMENT.replace(tzinfo=None)]
)
def test_write(moment: datetime) -> None:
    """A time is sent in UTC, regardless of its time zone."""
    assert arguments()["conv"][datetime](moment, None) == "'2026-01-02 03:04:05.000006'"
