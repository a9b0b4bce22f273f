"""Database URLs: which databases are supported, and by which drivers."""

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

# Without a driver in the URL, SQLAlchemy 2.1 selects psycopg 3 and mysqlclient, which are not in
# our requirements.
_SHIPPED_DRIVERS = {
    "postgres": "postgresql+psycopg2",
    "postgresql": "postgresql+psycopg2",
    "mysql": "mysql+pymysql",
    "mariadb": "mariadb+pymysql",
    "sqlite": "sqlite",
    # Optional extras, not verified
    "oracle": "oracle+oracledb",
    "mssql": "mssql+pymssql",
}


def normalise_db_url(url: str) -> URL:
    """Return `url` with the shipped driver if it names none. Raises ValueError."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        # The message does not repeat the URL, which may contain a password.
        raise ValueError("is not a database URL such as postgresql://user@host/name") from None
    backend, _, driver = parsed.drivername.partition("+")
    if backend not in _SHIPPED_DRIVERS:
        raise ValueError(f"names {backend}; use postgresql, mysql, mariadb or sqlite")
    if backend == "sqlite" and parsed.database in {None, "", ":memory:"}:
        raise ValueError("names a database in memory; use a file, such as sqlite:///images.db")
    if "@" in (parsed.host or ""):
        # Otherwise part of the password would become the host, which error messages name.
        raise ValueError("has an @ in its user or password that is not written as %40")
    return parsed if driver else parsed.set(drivername=_SHIPPED_DRIVERS[backend])
