"""Writes that a browser sends on behalf of another web site are refused.

Without credentials of its own the service is guarded by where it can be reached from, and a browser
inside lets pages from outside send forms.
"""

from urllib.parse import urlsplit

from fastapi import Request
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from config import Settings
from errors import CrossSiteRequestError
from web.problem_details import answer_service_error

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})  # RFC 9110 section 9.2.1


class CrossSiteWritesMiddleware:
    """Answers 403 to writes from pages of other origins than the service's own and the allowed.

    Programs that are no browsers send none of the fields that tell, and are not affected.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer 403."""
        if scope["type"] == "http" and scope["method"] not in _SAFE_METHODS:
            settings: Settings = scope["state"]["resources"].settings
            if _refuses(settings) and is_cross_site(
                Headers(scope=scope), settings.cors_allow_origins
            ):
                answer = await answer_service_error(Request(scope), CrossSiteRequestError())
                await answer(scope, receive, send)
                return
        await self.app(scope, receive, send)


def _refuses(settings: Settings) -> bool:
    # Browsers do not send keys by themselves, so a page that has one was given it.
    return settings.cross_site_writes == "refuse" and not settings.api_keys


def is_cross_site(headers: Headers, allowed_origins: tuple[str, ...]) -> bool:
    """Whether a page of an origin that is neither ours nor allowed sent the request.

    Sec-Fetch-Site (Fetch Metadata) counts where the browser sends it, which is over https and to
    localhost; otherwise Origin is compared to Host. A proxy in front that changes Host thus matters
    over plain http only. Sites of the same registrable domain are other sites, too.
    """
    origin = headers.get("origin")
    if "*" in allowed_origins or origin in allowed_origins:
        return False
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site not in {"same-origin", "none"}
    return origin is not None and _authority(origin) != headers.get("host", "").lower()


def _authority(origin: str) -> str:
    """Return host and port of an origin; none for `null`, that of no site."""
    try:
        return urlsplit(origin).netloc.lower() or "null"
    except ValueError:
        return "null"
