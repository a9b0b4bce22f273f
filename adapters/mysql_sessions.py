"""Sessions of MySQL and MariaDB: autocommit, so that a lone SELECT takes one round trip.

Without autocommit each SELECT would open a transaction, which needs a ROLLBACK.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

BEGINNINGS = {
    "write": ["START TRANSACTION"],
    "snapshot": [
        # No limit of `configure`: a verification may take long between two statements.
        "SET SESSION wait_timeout = DEFAULT /*M!100300 , idle_transaction_timeout = DEFAULT */",
        "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ",  # of the next transaction only
        "START TRANSACTION WITH CONSISTENT SNAPSHOT",
    ],
}
"""The statements that start a transaction."""


def arguments() -> dict[str, Any]:
    """Return the arguments of PyMySQL for autocommit, and for times in UTC."""
    from pymysql import converters  # noqa: PLC0415 - takes 18 MB, for MySQL only
    from pymysql.constants import FIELD_TYPE  # noqa: PLC0415

    def read_moment(text: str) -> datetime:
        return datetime.fromisoformat(text).replace(tzinfo=UTC)

    def write_moment(moment: datetime, _mapping: Mapping[Any, Any] | None = None) -> str:
        naive = moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment
        return converters.escape_datetime(naive)

    moments = {FIELD_TYPE.DATETIME: read_moment, datetime: write_moment}
    return {"autocommit": True, "conv": converters.conversions | moments}


def configure(limit: float, idle: int, dbapi_connection: Any, _record: object) -> None:
    """Limit the time of statements and of idle transactions, and set the isolation level.

    A server may limit the rows of SELECT, but not those of DELETE. The variants that a SELECT
    missed would be deleted without being journaled.
    """
    # PyMySQL has no public API for this.
    dbapi_connection._read_timeout = limit  # noqa: SLF001
    dbapi_connection._write_timeout = limit  # noqa: SLF001
    with dbapi_connection.cursor() as cursor:
        cursor.execute("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")
        # MySQL has no timeout of idle transactions, only of idle connections. Each comment is for
        # one of the two servers.
        cursor.execute(
            "SET SESSION sql_select_limit = 18446744073709551615"  # none
            f" /*M!100300 , idle_transaction_timeout = {idle} */"
            f" /*!50701 , wait_timeout = {idle} */"
        )
