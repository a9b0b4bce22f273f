"""IAM authentication to RDS: a token, valid for 15 minutes, replaces the password.

RDS checks a token only when a connection opens, so each new connection gets a fresh one, and pooled
connections outlive theirs (AWS: "IAM database authentication"). A token takes a signature, but no
request unless boto3 must renew its credentials. The role needs `rds-db:connect`.
"""

import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError
from sqlalchemy import URL, Dialect, Engine, event

from adapters.mysql_tls import verifies_server
from errors import ConfigurationError

_PORTS = {"postgresql": 5432, "mysql": 3306, "mariadb": 3306}


def require_verified_server(url: URL, tls: Mapping[str, Any]) -> None:
    """Raise ConfigurationError if another server could receive the token.

    A certificate from Amazon is not enough, because every RDS server of the region has one. It must
    be for the host in the URL.
    """
    backend = url.get_backend_name()
    if backend not in _PORTS or not (url.username and url.host):
        raise ConfigurationError(
            "Configuration: DB_IAM_AUTH requires a user of RDS for PostgreSQL, MySQL or MariaDB."
        )
    if backend == "postgresql":
        safe, remedy = url.query.get("sslmode") == "verify-full", "sslmode=verify-full"
    else:
        safe, remedy = verifies_server(tls), "ssl_ca, and turn no check off"
    if not safe:
        raise ConfigurationError(
            "Configuration: DB_IAM_AUTH sends tokens in clear text, so the URL of the database "
            f"must verify the server: use {remedy}."
        )


def token_source(url: URL, region: str) -> Callable[[], str]:
    """Return a function that makes tokens for the region of an RDS host, otherwise for `region`."""
    host = url.host or ""
    if match := re.search(r"\.([a-z0-9-]+)\.rds\.amazonaws\.com(\.cn)?$", host):
        region = match[1]
    client = boto3.session.Session(region_name=region).client("rds")
    return partial(
        client.generate_db_auth_token,
        DBHostname=host,
        Port=url.port or _PORTS[url.get_backend_name()],
        DBUsername=url.username,
        Region=region,
    )


def sign_in(engine: Engine, source: Callable[[], str]) -> None:
    """Give each new connection of the engine a fresh token."""

    @event.listens_for(engine, "do_connect")
    def add_token(
        dialect: Dialect, _record: object, _arguments: object, parameters: dict[str, Any]
    ) -> None:
        try:
            parameters["password"] = source()
        except (BotoCoreError, ClientError) as exc:
            # An error of the driver counts as a failure to connect.
            raise dialect.loaded_dbapi.OperationalError(f"no token for RDS: {exc}") from exc
