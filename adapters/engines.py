"""The SQLAlchemy engine: bounded in connections and in every wait.

Each driver's time limits are in database_drivers.py.
"""

from typing import Any

from sqlalchemy import URL, Engine, create_engine, make_url
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import QueuePool

from adapters import rds_iam, unverified_engines
from adapters.database_drivers import connect_arguments, prepare, require_known_arguments
from adapters.mysql_tls import split_tls
from config import Settings
from errors import ConfigurationError

WRITE_LEVEL = "READ COMMITTED"


def build_engine(settings: Settings) -> Engine:
    """Build the engine; it connects when it is used.

    Raises ConfigurationError when the driver that the URL names is not installed, or the URL cannot
    be used.
    """
    try:
        url, tls = _split_tls(make_url(settings.db_url))
        engine = _create_engine(url, settings, tls)
        require_known_arguments(engine)
    except ValueError as exc:
        raise ConfigurationError(f"Configuration: DB_URL cannot be used: {exc}.") from exc
    prepare(engine, settings)
    if settings.db_iam_auth:
        rds_iam.require_verified_server(url, tls)
        rds_iam.sign_in(engine, rds_iam.token_source(url, settings.aws_region))
    return engine


def _split_tls(url: URL) -> tuple[URL, dict[str, Any]]:
    on_mysql = url.get_backend_name() in {"mysql", "mariadb"}
    return split_tls(url) if on_mysql else (url, {})


def _create_engine(url: URL, settings: Settings, tls: dict[str, Any]) -> Engine:
    backend = url.get_backend_name()
    options: dict[str, Any] = {
        "poolclass": QueuePool,  # of SQLite, too
        "pool_use_lifo": True,
        "connect_args": connect_arguments(backend, settings) | tls,
        # One for each thread of handlers, so that none waits for the pool; one each for readiness
        # and sweeper. What follows an answer (`Bulkhead.run`) takes what is free.
        "pool_size": settings.threads + 2,
        "max_overflow": 0,
        "pool_timeout": settings.connect_timeout_seconds,
        "pool_recycle": 1800,
    }
    if backend == "postgresql":
        # A lone SELECT needs no BEGIN and ROLLBACK around it; `writing` asks for a transaction.
        options["isolation_level"] = "AUTOCOMMIT"
        # Nor is there anything to roll back when a connection is returned: `writing` has done it.
        options["pool_reset_on_return"] = None
        # psycopg2's rollback hands the GIL over even where there is nothing to undo.
        options["skip_autocommit_rollback"] = True
    elif backend != "sqlite":
        options["isolation_level"] = WRITE_LEVEL
    try:
        return create_engine(url, **options)
    except (ImportError, SQLAlchemyError) as exc:
        driver, remedy = url.drivername, unverified_engines.DRIVERS.get(url.drivername, str(exc))
        raise ConfigurationError(
            f"Configuration: DB_URL names {driver}, whose driver is not installed: {remedy}."
        ) from exc
