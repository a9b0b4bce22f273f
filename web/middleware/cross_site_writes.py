"""Refuses writes that a browser sends for a page of another web site.

Without API keys only the network protects the service, and a browser inside that network lets pages
from outside send forms.
"""

from fastapi import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from config import Settings
from config.origins import normalise_origin
from errors import CrossSiteRequestError
from web.problem_details import answer_service_error

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})  # RFC 9110 section 9.2.1


class CrossSiteWritesMiddleware:
    """Answers 403 to writes by pages of origins that are neither the service's own nor allowed.

    Programs that are not browsers send neither Origin nor Sec-Fetch-Site, and are not affected.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer 403."""
        if scope["type"] == "http" and scope["method"] not in _SAFE_METHODS:
            settings: Settings = scope["state"]["resources"].settings
            request = Request(scope)
            if _refuses(settings) and is_cross_site(request, settings.cors_allow_origins):
                answer = await answer_service_error(request, CrossSiteRequestError())
                await answer(scope, receive, send)
                return
        await self.app(scope, receive, send)


def _refuses(settings: Settings) -> bool:
    # Browsers do not add API keys by themselves, so a page that sends one was given it.
    return settings.cross_site_writes == "refuse" and not settings.api_keys


def is_cross_site(request: Request, allowed_origins: tuple[str, ...]) -> bool:
    """Return whether a page of an origin that is neither ours nor allowed sent the request.

    Browsers send Sec-Fetch-Site (Fetch Metadata) over HTTPS and to localhost. Without it, Origin is
    compared with Host, so over plain HTTP a proxy must not change Host. Other sites of the same
    registrable domain are foreign, too.
    """
    origin, site = request.headers.get("origin"), request.headers.get("sec-fetch-site")
    if "*" in allowed_origins or (origin and _normalised(origin) in allowed_origins):
        return False
    if site is not None:
        return site not in {"same-origin", "none"}
    return origin is not None and _normalised(origin) not in _own_origins(request)


def _own_origins(request: Request) -> set[str]:
    """Return the origins at Host: of the request's scheme, and of HTTPS, which a proxy may end."""
    host = request.headers.get("host", "")
    origins = {_normalised(f"{scheme}://{host}") for scheme in ("https", request.scope["scheme"])}
    return {origin for origin in origins if origin}


def _normalised(origin: str) -> str | None:
    try:
        return normalise_origin(origin)
    except ValueError:
        return None  # such as `null`, the origin of a sandboxed frame
