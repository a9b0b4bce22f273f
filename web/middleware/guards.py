"""Refuses requests by rules before their body is read."""

from collections.abc import Callable, Sequence

from starlette.types import ASGIApp, Receive, Scope, Send

from config import Settings
from errors import ServiceError
from web.problem_details import send_problem

Rule = Callable[[Scope, Settings], ServiceError | None]
"""Returns the error with which a request is refused, or None."""


class GuardMiddleware:
    """Refuses a request with the error of the first rule that returns one."""

    def __init__(self, app: ASGIApp, rules: Sequence[Rule]) -> None:
        self.app = app
        self._rules = rules

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request, or refuse it."""
        if scope["type"] == "http":
            settings: Settings = scope["state"]["resources"].settings
            for rule in self._rules:
                if refusal := rule(scope, settings):
                    await send_problem(refusal, scope, receive, send)
                    return
        await self.app(scope, receive, send)
