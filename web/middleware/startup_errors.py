"""Reports why the service could not start."""

import sys

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from errors import ConfigurationError


class StartupErrorMiddleware:
    """Reports an invalid configuration in one sentence instead of a stack trace."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle an event; replace the stack trace of a failed start."""
        if scope["type"] != "lifespan":
            await self.app(scope, receive, send)
            return

        async def send_sentence(message: Message) -> None:
            if message["type"] == "lifespan.startup.failed":
                cause = sys.exception()
                if isinstance(cause, ConfigurationError):
                    message["message"] = cause.detail
            await send(message)

        await self.app(scope, receive, send_sentence)
