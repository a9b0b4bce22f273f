"""CORS, for the origins that the settings allow."""

from fastapi.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from config import Settings
from web.openapi import EXPOSED_HEADERS


class CorsMiddleware:
    """CORS for the origins of the settings; off without any.

    The settings of the module's own `app` are read only when the server starts, which is after
    middleware is added, so CORS is decided at the first request.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self._chosen: ASGIApp | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request, with CORS if there are origins."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if self._chosen is None:
            self._chosen = self._choose(scope["state"]["resources"].settings)
        await self._chosen(scope, receive, send)

    def _choose(self, settings: Settings) -> ASGIApp:
        if not settings.cors_allow_origins:
            return self.app
        return CORSMiddleware(
            self.app,
            allow_origins=settings.cors_allow_origins,
            allow_methods=["GET", "HEAD", "POST", "DELETE"],
            allow_headers=["*"],
            expose_headers=sorted(EXPOSED_HEADERS),
        )
