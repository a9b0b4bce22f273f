"""How many requests one process accepts at once; further ones are refused immediately.

runtime/http_protocol.py bounds the connections.
"""

import asyncio
import resource

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from errors import NotReadyError, OverloadedError
from web.problem_details import send_problem
from web.routed_path import is_probe

_REQUESTS = 750
_WITH_BODY = frozenset({"POST", "PUT"})


class LoadSheddingMiddleware:
    """Answers 503 at once if too many requests wait, or too many are under way.

    A request waits from the arrival of its body until its response begins. Slow uploads and
    downloads do not wait, but count as under way, because they hold files or connections open.
    Health checks and `/metrics` are always answered.

    At the end of `--timeout-graceful-shutdown` uvicorn cancels the requests that are under way.
    Those whose response has not begun get 503 as well.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self._waiting = self._under_way = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Admit the request, or refuse it."""
        if scope["type"] != "http" or is_probe(scope):
            await self.app(scope, receive, send)
        elif self._is_full(scope["state"]["resources"].settings.max_waiting_requests):
            await send_problem(OverloadedError(), scope, receive, send)
        else:
            self._under_way += 1
            try:
                await self._admit(scope, receive, send)
            finally:
                self._under_way -= 1

    def _is_full(self, most_waiting: int) -> bool:
        files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        most_under_way = min(_REQUESTS, files * 3 // 10)
        return self._waiting >= most_waiting or self._under_way >= most_under_way

    async def _admit(self, scope: Scope, receive: Receive, send: Send) -> None:
        waiting = 0
        answered = False

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
            nonlocal answered
            answered = True
            wait(0)
            await send(message)

        try:
            wait(0 if scope["method"] in _WITH_BODY else 1)
            await self.app(scope, receive_body, send_answer)
        except asyncio.CancelledError:
            if answered:
                raise
            error = NotReadyError("The service is shutting down; try again.")
            await send_problem(error, scope, receive, send)
        finally:
            wait(0)
