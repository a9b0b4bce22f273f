"""Database URLs: which ones we serve, and by which drivers.

What DB_IAM_AUTH demands of them is adapters/rds_iam.py, what a MySQL URL says of TLS
adapters/mysql_tls.py.
"""

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

# A plain "postgresql://" means psycopg 3 to SQLAlchemy 2.1 and "mysql://" means mysqlclient;
# these are the drivers that we ship.
_SHIPPED_DRIVERS = {
    "postgres": "postgresql+psycopg2",
    "postgresql": "postgresql+psycopg2",
    "mysql": "mysql+pymysql",
    "mariadb": "mariadb+pymysql",
    "sqlite": "sqlite",
    # Extras, and not verified.
    "oracle": "oracle+oracledb",
    "mssql": "mssql+pymssql",
}


def normalise_db_url(url: str) -> URL:
    """Return `url` with the driver that we ship where it names none.

    Raises ValueError when the URL cannot be read or its database is not one that we serve.
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        # The URL may hold a password, so it is not repeated.
        raise ValueError("is not a database URL such as postgresql://user@host/name") from None
    backend, _, driver = parsed.drivername.partition("+")
    if backend not in _SHIPPED_DRIVERS:
        raise ValueError(f"names {backend}; use postgresql, mysql, mariadb or sqlite")
    if backend == "sqlite" and parsed.database in {None, "", ":memory:"}:
        raise ValueError("names a database in memory; use a file, such as sqlite:///images.db")
    if "@" in (parsed.host or ""):
        # Part of the password would be taken for the host, and printed.
        raise ValueError("has an @ in its user or password that is not written as %40")
    return parsed if driver else parsed.set(drivername=_SHIPPED_DRIVERS[backend])
