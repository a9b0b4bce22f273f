"""Oracle and SQL Server, as their manuals describe them. The service has never run on either.

The tests compile every table and statement for both, and run the contract on a server if
TEST_ORACLE_URL or TEST_MSSQL_URL names one. Oracle must be 12.2 or later with AL32UTF8, and SQL
Server 2019 or later with ALLOW_SNAPSHOT_ISOLATION and READ_COMMITTED_SNAPSHOT. The service checks
none of these.
"""

import math
from datetime import datetime
from functools import partial
from typing import Any

from sqlalchemy import TIMESTAMP, Engine, String, event
from sqlalchemy.dialects import mssql
from sqlalchemy.types import TypeEngine

from config import Settings
from telemetry import logger

NAMES = {"oracle": "Oracle", "mssql": "SQL Server"}

# How to install their drivers, which requirements.lock does not contain.
DRIVERS = {
    "oracle+oracledb": "`pip install oracledb`",
    "mssql+pymssql": "`pip install pymssql`",
}

SNAPSHOT_LEVELS = {"oracle": "SERIALIZABLE", "mssql": "SNAPSHOT"}

# SQL Server has no FOR UPDATE.
MSSQL_ROW_LOCK = "WITH (UPDLOCK, ROWLOCK)"

CLOCKS = {
    "oracle": "SELECT SYS_EXTRACT_UTC(SYSTIMESTAMP) FROM DUAL",
    "mssql": "SELECT SYSUTCDATETIME()",
}

# Oracle: unique constraint, deadlock, cannot serialise. SQL Server: deadlock, unique index, unique
# constraint, snapshot conflict.
_UNDONE_ORACLE = {1, 60, 8177}
_UNDONE_MSSQL = {1205, 2601, 2627, 3960}


def exact_text(backend: str, length: int) -> TypeEngine[str]:
    """Return the type of text that compares by its bytes.

    On Oracle the session decides that. SQL Server ignores trailing spaces in any collation, but
    neither names nor keys have any.
    """
    if backend == "oracle":
        return String(length)
    return mssql.VARCHAR(length, collation="Latin1_General_100_BIN2_UTF8")


def moment(backend: str) -> TypeEngine[datetime]:
    """Return a type that keeps microseconds; Oracle's DATE keeps whole seconds."""
    return TIMESTAMP() if backend == "oracle" else mssql.DATETIME2(6)  # type: ignore[no-untyped-call]


def connect_arguments(backend: str, settings: Settings) -> dict[str, Any]:
    """Return the arguments of the driver that bound every wait and keep microseconds."""
    if backend == "oracle":
        return {"tcp_connect_timeout": settings.connect_timeout_seconds}
    return {
        "login_timeout": math.ceil(settings.connect_timeout_seconds),
        "timeout": math.ceil(settings.db_statement_timeout_seconds),
        "use_datetime2": True,  # pymssql otherwise cuts moments to milliseconds
    }


def prepare(engine: Engine, settings: Settings) -> None:
    """Log a warning, and make Oracle compare bytes and limit the time of statements."""
    name = NAMES[engine.dialect.name]
    logger.warning("%s is not verified: the service has never run on it", name)
    if engine.dialect.name == "oracle":
        configure = partial(_configure_oracle, settings.db_statement_timeout_seconds)
        event.listen(engine, "connect", configure)


def is_undone(error: BaseException) -> bool:
    """Whether the error of either driver means that the transaction did not happen."""
    first = error.args[0] if error.args else None
    if isinstance(first, int):
        return first in _UNDONE_MSSQL
    return getattr(first, "code", None) in _UNDONE_ORACLE


def _configure_oracle(limit: float, dbapi_connection: Any, _record: object) -> None:
    """Compare and sort by bytes, independently of the language of the host."""
    dbapi_connection.call_timeout = math.ceil(limit * 1000)
    with dbapi_connection.cursor() as cursor:
        cursor.execute("ALTER SESSION SET NLS_SORT = BINARY NLS_COMP = BINARY")
