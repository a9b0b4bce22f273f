"""The header Referrer-Policy of responses to signed links."""

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from web.caller import caller


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
