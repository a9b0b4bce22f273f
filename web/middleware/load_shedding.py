"""How many requests may wait for an answer at once: beyond that, the service sheds load."""

from fastapi import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from errors import OverloadedError
from web.middleware.routed_path import routed_path
from web.problem_details import answer_service_error

_ALWAYS_ANSWERED = ("/health/", "/metrics")


class LoadSheddingMiddleware:
    """Answers 503 at once when too many requests wait already, instead of queueing without bound.

    A request waits from when its body has arrived until its answer begins: slow uploads and slow
    downloads take no place. Health and `/metrics` are always answered.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self._waiting = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Admit the request, or refuse it."""
        if scope["type"] != "http" or routed_path(scope).startswith(_ALWAYS_ANSWERED):
            await self.app(scope, receive, send)
            return
        if self._waiting >= scope["state"]["resources"].settings.max_waiting_requests:
            answer = await answer_service_error(Request(scope), OverloadedError())
            await answer(scope, receive, send)
            return
        waiting = 0

        def wait(places: int) -> None:
            nonlocal waiting
            self._waiting += places - waiting
            waiting = places

        async def receive_body() -> Message:
            message = await receive()
            if message["type"] == "http.request" and not message.get("more_body"):
                wait(1)
            return message

        async def send_answer(message: Message) -> None:
            wait(0)
            await send(message)

        try:
            wait(0 if scope["method"] == "POST" else 1)
            await self.app(scope, receive_body, send_answer)
        finally:
            wait(0)
