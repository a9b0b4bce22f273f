"""CORS for CORS_ALLOW_ORIGINS."""

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from config import Settings
from web.openapi import EXPOSED_HEADERS


class CorsFromSettings:
    """Lets pages of CORS_ALLOW_ORIGINS use the API, even if the service is on a private network.

    Starlette's middleware is built at the first request, because the settings are read when the
    server starts, after middleware is added.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self._built: ASGIApp | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request with Starlette's middleware if any origin is allowed."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if self._built is None:
            settings: Settings = scope["state"]["resources"].settings
            self._built = self._cors(settings) if settings.cors_allow_origins else self.app
        await self._built(scope, receive, send)

    def _cors(self, settings: Settings) -> ASGIApp:
        return CORSMiddleware(
            self.app,
            allow_origins=settings.cors_allow_origins,
            allow_methods=["GET", "HEAD", "POST", "PUT", "DELETE"],
            allow_headers=["*"],
            allow_private_network=True,
            expose_headers=sorted(EXPOSED_HEADERS),
        )
