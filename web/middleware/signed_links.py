"""Signed links: which requests they allow without an API key."""

from datetime import UTC, datetime

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from config import Settings
from errors import InvalidNameError
from services.names import normalise_name
from web.access import caller
from web.middleware.routed_path import match_route
from web.signed_links import SignedLink, is_link

# Which rights allow a request, by its route; all other requests need a key.
_READERS: dict[str, tuple[str, ...]] = {
    "/images/{name}": ("read",),
    "/images/{name}/metadata": ("read",),
    "/images/{name}/variants/{variant}": ("read", "variants"),
}
_WRITERS: dict[str, tuple[str, ...]] = {"/images/{name}": ("upload",)}
_ALLOWING: dict[str, dict[str, tuple[str, ...]]] = {
    "GET": _READERS,
    "HEAD": _READERS,
    "PUT": _WRITERS,
}


def has_link(scope: Scope) -> bool:
    """Whether a request comes by a link, valid or not."""
    return is_link(scope["query_string"].decode("latin-1"))


def link_of(scope: Scope, settings: Settings) -> SignedLink | None:
    """Return the link of a request; None unless it is valid and allows the request."""
    template, parameters = match_route(scope)
    allowing = _ALLOWING.get(scope["method"], {}).get(template, ())
    try:
        name = normalise_name(parameters.get("name", ""))
    except InvalidNameError:
        return None
    query, now = scope["query_string"].decode("latin-1"), datetime.now(UTC)
    link = SignedLink.from_query(query, name, settings.link_secrets, now)
    return link if link and link.allows in allowing else None


class NoReferrerMiddleware:
    """Keeps links out of the header Referer of whatever a browser requests next."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; if a link allows it, add a header to the response."""
        if caller.get().link is None:
            await self.app(scope, receive, send)
            return

        async def send_without_referrer(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["Referrer-Policy"] = "no-referrer"
            await send(message)

        await self.app(scope, receive, send_without_referrer)
