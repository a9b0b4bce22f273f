"""Oracle and SQL Server: what they need of us, by their manuals. Nobody has run it on them.

Statements and tables are compiled for both in a test. The contract runs where a server is named.
Oracle must be 12.2 or later with AL32UTF8, SQL Server 2019 or later with ALLOW_SNAPSHOT_ISOLATION
and READ_COMMITTED_SNAPSHOT; nothing here checks that.
"""

import logging
import math
from functools import partial
from typing import Any

from sqlalchemy import Engine, Select, Table, event

from config import Settings

logger = logging.getLogger("image_api")

NAMES = {"oracle": "Oracle", "mssql": "SQL Server"}

# What brings their drivers, which are not in requirements.lock.
DRIVERS = {
    "oracle+oracledb": "`pip install oracledb`",
    "mssql+pymssql": "`pip install pymssql`",
}

# By which isolation all SELECTs of a transaction see one moment; SQL Server's must be allowed.
SNAPSHOT_LEVELS = {"oracle": "SERIALIZABLE", "mssql": "SNAPSHOT"}

# What FOR UPDATE is elsewhere, and on Oracle.
MSSQL_ROW_LOCK = "WITH (UPDLOCK, ROWLOCK)"

# Oracle: unique constraint, deadlock, cannot serialise. SQL Server: deadlock, unique index, unique
# constraint, snapshot changed.
_UNDONE_ORACLE = {1, 60, 8177}
_UNDONE_MSSQL = {1205, 2601, 2627, 3960}


def connect_arguments(backend: str, settings: Settings) -> dict[str, Any]:
    """Return the driver's arguments that bound every wait, and keep microseconds."""
    if backend == "oracle":
        return {"tcp_connect_timeout": settings.connect_timeout_seconds}
    return {
        "login_timeout": math.ceil(settings.connect_timeout_seconds),
        "timeout": math.ceil(settings.db_statement_timeout_seconds),
        "use_datetime2": True,  # pymssql cuts moments to milliseconds otherwise
    }


def prepare(engine: Engine, settings: Settings) -> None:
    """Warn; make the connections of either compare bytes, and wait no longer than they may."""
    if name := NAMES.get(engine.dialect.name):
        logger.warning("%s is not verified: the service was never run on it", name)
    if engine.dialect.name == "oracle":
        configure = partial(_configure_oracle, settings.db_statement_timeout_seconds)
        event.listen(engine, "connect", configure)


def is_undone(error: BaseException) -> bool:
    """Whether either database says by this that the transaction did not happen."""
    told = error.args[0] if error.args else None
    if isinstance(told, int):
        return told in _UNDONE_MSSQL
    return getattr(told, "code", None) in _UNDONE_ORACLE


def lock_rows(statement: Select[Any], table: Table) -> Select[Any]:
    """Let a SELECT lock the rows that it finds in `table`, on every engine."""
    return statement.with_for_update().with_hint(table, MSSQL_ROW_LOCK, "mssql")


def _configure_oracle(limit: float, dbapi_connection: Any, _record: object) -> None:
    """Order and compare by bytes, whatever the language of the host."""
    dbapi_connection.call_timeout = round(limit * 1000)
    with dbapi_connection.cursor() as cursor:
        cursor.execute("ALTER SESSION SET NLS_SORT = BINARY NLS_COMP = BINARY")
