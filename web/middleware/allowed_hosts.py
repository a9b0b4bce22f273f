"""Refuses requests for other hosts, so that no page can point its own name at the service."""

import functools
import re

from starlette.datastructures import Headers
from starlette.types import Scope

from config import Settings
from errors import HostNotAllowedError
from web.middleware.routed_path import routed_path


def refuse_other_hosts(scope: Scope, settings: Settings) -> HostNotAllowedError | None:
    """Refuse a request unless its Host is one of ALLOWED_HOSTS, with any port.

    Health checks of load balancers name the address of the process, so `/health/` is open.
    """
    if "*" in settings.allowed_hosts or routed_path(scope).startswith("/health/"):
        return None
    host = Headers(scope=scope).get("host", "")
    return None if _pattern(settings.allowed_hosts).fullmatch(host) else HostNotAllowedError()


@functools.lru_cache(maxsize=1)
def _pattern(hosts: tuple[str, ...]) -> re.Pattern[str]:
    names = "|".join(re.escape(host).replace(r"\*", "[a-z0-9._-]+") for host in hosts)
    return re.compile(f"(?:{names})(?::[0-9]+)?", re.IGNORECASE | re.ASCII)
