"""RDS signs its users in by IAM: a token takes the place of the password, for 15 minutes.

RDS looks at a token only while it connects, so each new connection gets one of its own, and those
of the pool outlive theirs (AWS: "IAM database authentication"). Making one is a signature: nobody
is asked, but for boto3's credentials where these have expired.
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

TokenSource = Callable[[], str]

_PORTS = {"postgresql": 5432, "mysql": 3306, "mariadb": 3306}


def require_verified_server(url: URL, tls: Mapping[str, Any]) -> None:
    """Raise ConfigurationError where somebody else than RDS could get the token, in clear text.

    A certificate by Amazon is not enough: every RDS server of the region has one. It must be for
    the host that the URL names.
    """
    backend = url.get_backend_name()
    if backend not in _PORTS or not (url.username and url.host):
        raise ConfigurationError(
            "Configuration: DB_IAM_AUTH is for users of RDS for PostgreSQL, MySQL and MariaDB."
        )
    if backend == "postgresql":
        safe, wanted = url.query.get("sslmode") == "verify-full", "sslmode=verify-full"
    else:
        safe, wanted = verifies_server(tls), "ssl_ca, without turning checks off"
    if not safe:
        raise ConfigurationError(
            "Configuration: DB_IAM_AUTH hands out tokens in clear text, so the URL of the database "
            f"must verify the server: by {wanted}."
        )


def token_source(url: URL, region: str) -> TokenSource:
    """Return what makes tokens for the user, host and port of `url`.

    The region is that of RDS's own host names, otherwise `region`.
    """
    host = url.host or ""
    named = re.search(r"\.([a-z0-9-]+)\.rds\.amazonaws\.com(\.cn)?$", host)
    region = named[1] if named else region
    client = boto3.session.Session(region_name=region).client("rds")
    return partial(
        client.generate_db_auth_token,
        DBHostname=host,
        Port=url.port or _PORTS[url.get_backend_name()],
        DBUsername=url.username,
        Region=region,
    )


def sign_in(engine: Engine, source: TokenSource) -> None:
    """Let each new connection of the engine sign in with a fresh token."""
    event.listen(engine, "do_connect", partial(_add_token, source))


def _add_token(
    source: TokenSource,
    dialect: Dialect,
    _record: object,
    _arguments: object,
    parameters: dict[str, Any],
) -> None:
    try:
        parameters["password"] = source()
    except (BotoCoreError, ClientError) as exc:
        # The driver's own error, so that it counts as every other failure to connect.
        raise dialect.loaded_dbapi.OperationalError(f"no token for RDS: {exc}") from exc
