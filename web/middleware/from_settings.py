"""Starlette's middleware that depends on the settings: CORS, and the hosts that are served."""

from collections.abc import Callable

from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from config import Settings
from errors import HostNotAllowedError
from web.middleware.routed_path import routed_path
from web.openapi import EXPOSED_HEADERS
from web.problem_details import answer_service_error


class FromSettings:
    """A middleware that is built at the first request.

    The settings of the module's own `app` are read when the server starts, which is after
    middleware is added.
    """

    def __init__(self, app: ASGIApp, build: Callable[[ASGIApp, Settings], ASGIApp]) -> None:
        self.app = app
        self._build = build
        self._built: ASGIApp | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request to the middleware that the settings ask for."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if self._built is None:
            self._built = self._build(self.app, scope["state"]["resources"].settings)
        await self._built(scope, receive, send)


def cors(app: ASGIApp, settings: Settings) -> ASGIApp:
    """Let pages of CORS_ALLOW_ORIGINS use the API, also from public to private networks."""
    if not settings.cors_allow_origins:
        return app
    return CORSMiddleware(
        app,
        allow_origins=settings.cors_allow_origins,
        allow_methods=["GET", "HEAD", "POST", "DELETE"],
        allow_headers=["*"],
        allow_private_network=True,
        expose_headers=sorted(EXPOSED_HEADERS),
    )


def allowed_hosts(app: ASGIApp, settings: Settings) -> ASGIApp:
    """Answer 400 to requests for other hosts than ALLOWED_HOSTS; `*` is any host."""
    hosts = settings.allowed_hosts
    return app if "*" in hosts else _AllowedHosts(app, hosts)


class _AllowedHosts:
    """Starlette's TrustedHostMiddleware, which refuses with a problem document.

    Health checks of load balancers name the address of the process, so `/health/` is open.
    """

    def __init__(self, app: ASGIApp, hosts: tuple[str, ...]) -> None:
        self.app = app
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if routed_path(scope).startswith("/health/") or await self._admits(scope, receive):
            await self.app(scope, receive, send)
        else:
            answer = await answer_service_error(Request(scope), HostNotAllowedError())
            await answer(scope, receive, send)

    async def _admits(self, scope: Scope, receive: Receive) -> bool:
        admitted = False

        async def admit(_scope: Scope, _receive: Receive, _send: Send) -> None:
            nonlocal admitted
            admitted = True

        async def discard(_message: Message) -> None:
            """Drop Starlette's refusal, which is plain text."""

        await TrustedHostMiddleware(admit, self._hosts, www_redirect=False)(scope, receive, discard)
        return admitted
