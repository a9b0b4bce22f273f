"""Refuses requests for other hosts, which prevents DNS rebinding by web pages."""

from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from config import Settings
from errors import HostNotAllowedError
from web.problem_details import send_problem
from web.routed_path import routed_path


class AllowedHostsMiddleware:
    """Applies Starlette's TrustedHostMiddleware, but refuses with a problem document.

    Load balancers name the address of the process in health checks, so `/health/` allows any host.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request, or answer 400."""
        if scope["type"] != "http" or await _is_admitted(scope, receive):
            await self.app(scope, receive, send)
        else:
            await send_problem(HostNotAllowedError(), scope, receive, send)


async def _is_admitted(scope: Scope, receive: Receive) -> bool:
    settings: Settings = scope["state"]["resources"].settings
    if "*" in settings.allowed_hosts or routed_path(scope).startswith("/health/"):
        return True
    admitted = False

    async def admit(_scope: Scope, _receive: Receive, _send: Send) -> None:
        nonlocal admitted
        admitted = True

    async def discard(_message: Message) -> None:
        """Drop Starlette's refusal, which is plain text."""

    check = TrustedHostMiddleware(admit, settings.allowed_hosts, www_redirect=False)
    await check(scope, receive, discard)
    return admitted
