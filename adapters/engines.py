"""The SQLAlchemy engine: how many connections it opens, and how long a request waits for one."""

from typing import Any

from sqlalchemy import URL, Engine, create_engine, make_url
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import QueuePool

from adapters import rds_iam, unverified_engines
from adapters.database_drivers import connect_arguments, prepare, require_usable_arguments
from adapters.mysql_tls import split_tls
from config import Settings
from errors import ConfigurationError

WRITE_LEVEL = "READ COMMITTED"


def build_engine(settings: Settings) -> Engine:
    """Build the engine, which connects on first use. Raises ConfigurationError."""
    url, tls = make_url(settings.db_url), dict[str, Any]()
    try:
        if url.get_backend_name() in {"mysql", "mariadb"}:
            url, tls = split_tls(url)
        engine = _create_engine(url, settings, tls)
        require_usable_arguments(engine)
    except ValueError as exc:
        raise ConfigurationError(f"Configuration: DB_URL cannot be used: {exc}.") from exc
    prepare(engine, settings)
    if settings.db_iam_auth:
        rds_iam.require_verified_server(url, tls)
        rds_iam.sign_in(engine, rds_iam.token_source(url, settings.aws_region))
    return engine


def _create_engine(url: URL, settings: Settings, tls: dict[str, Any]) -> Engine:
    backend = url.get_backend_name()
    options: dict[str, Any] = {
        "poolclass": QueuePool,  # of SQLite as well
        "pool_use_lifo": True,
        "connect_args": connect_arguments(url, settings) | tls,
        # One for each thread that runs handlers, one for readiness and one for the sweeper. Work
        # that follows a response takes any free connection.
        "pool_size": settings.threads + 2,
        "max_overflow": 0,
        "pool_timeout": settings.connect_timeout_seconds,
        "pool_recycle": 1800,
    }
    if backend == "postgresql":
        # A lone SELECT needs no BEGIN and ROLLBACK. `writing` starts a transaction and ends it.
        # psycopg2's rollback releases the GIL even when there is nothing to roll back.
        options["isolation_level"] = "AUTOCOMMIT"
        options["pool_reset_on_return"] = None
        options["skip_autocommit_rollback"] = True
    elif backend in {"mysql", "mariadb"}:
        # In autocommit (`mysql_sessions`), a returned connection has nothing to roll back.
        options["pool_reset_on_return"] = None
        options["paramstyle"] = "pyformat"  # named parameters, as with psycopg2
    elif backend != "sqlite":
        options["isolation_level"] = WRITE_LEVEL
    try:
        return create_engine(url, **options)
    except (ImportError, SQLAlchemyError) as exc:
        driver, remedy = url.drivername, unverified_engines.DRIVERS.get(url.drivername, str(exc))
        raise ConfigurationError(
            f"Configuration: DB_URL names {driver}, whose driver is not installed: {remedy}."
        ) from exc
