"""Oracle and SQL Server in the contract tests: they take part if a variable names a server.

The URL must name a database that exists for the tests alone: they drop all its tables.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import inspect

from devstack.databases import connection

_VARIABLES = {"oracle": "TEST_ORACLE_URL", "mssql": "TEST_MSSQL_URL"}
NAMED_ENGINES = [name for name, variable in _VARIABLES.items() if variable in os.environ]
LOCK_TIMEOUTS = {
    "oracle": "ALTER SESSION SET DDL_LOCK_TIMEOUT = 2",
    "mssql": "SET LOCK_TIMEOUT 2000",
}


@contextmanager
def named_database(engine: str) -> Iterator[str]:
    """Yield the URL of the database that the variable of `engine` names, without tables."""
    url = os.environ[_VARIABLES[engine]]
    _drop_tables(url)
    try:
        yield url
    finally:
        _drop_tables(url)


def _drop_tables(url: str) -> None:
    with connection(url) as db:
        for table in inspect(db).get_table_names():
            db.exec_driver_sql(f"DROP TABLE {table}")
