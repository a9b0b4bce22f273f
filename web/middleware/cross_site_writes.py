"""Refuses writes that a browser sends for a page of another web site.

Without API keys only the network protects the service, but browsers inside it let pages from
outside send forms.
"""

from fastapi import Request
from starlette.types import Scope

from config import Settings
from config.origins import normalise_origin
from errors import CrossSiteRequestError
from web.caller import caller

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})  # RFC 9110 section 9.2.1


def refuse_cross_site_writes(scope: Scope, settings: Settings) -> CrossSiteRequestError | None:
    """Refuse a write by a page of an origin that is neither the service's own nor allowed.

    Programs other than browsers send neither Origin nor Sec-Fetch-Site, and are not affected.
    Browsers never add API keys or links themselves, so a page that sends one has received it.
    """
    if (
        scope["method"] in _SAFE_METHODS
        or settings.api_keys
        or caller.get().link
        or not _is_cross_site(Request(scope), settings.cors_allow_origins)
    ):
        return None
    return CrossSiteRequestError()


def _is_cross_site(request: Request, allowed_origins: tuple[str, ...]) -> bool:
    """Return whether a page of an origin that is neither ours nor allowed sent the request.

    Browsers send Sec-Fetch-Site (Fetch Metadata) over HTTPS and to localhost. Without it, Origin is
    compared with Host, so a proxy for plain HTTP must not change Host. Other hosts of the same
    registrable domain also count as foreign.
    """
    origin, site = request.headers.get("origin"), request.headers.get("sec-fetch-site")
    if "*" in allowed_origins or (origin and _normalised(origin) in allowed_origins):
        return False
    if site is not None:
        return site not in {"same-origin", "none"}
    return origin is not None and _normalised(origin) not in _own_origins(request)


def _own_origins(request: Request) -> set[str]:
    """Return the origins of Host: with the request's scheme, and with HTTPS, for a TLS proxy."""
    host = request.headers.get("host", "")
    origins = {_normalised(f"{scheme}://{host}") for scheme in ("https", request.scope["scheme"])}
    return {origin for origin in origins if origin}


def _normalised(origin: str) -> str | None:
    try:
        return normalise_origin(origin)
    except ValueError:
        return None  # such as `null`, the origin of a sandboxed frame
