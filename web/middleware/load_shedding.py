"""Limits how many requests one process accepts at once.

runtime/http_protocol.py limits the connections.
"""

import asyncio
import resource

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from errors import NotReadyError, OverloadedError
from web.problem_details import send_problem
from web.routed_path import is_probe

_MAX_REQUESTS = 750
_WITH_BODY = frozenset({"POST", "PUT"})


class LoadSheddingMiddleware:
    """Answers 503 immediately if too many requests are waiting or in progress.

    A request waits from the end of its body until its response begins. Slow uploads and downloads
    are not waiting, but in progress, because they keep files or connections open. Health checks and
    `/metrics` are exempt.

    At the end of `--timeout-graceful-shutdown` uvicorn cancels the requests in progress. Those
    whose response has not begun also get 503.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self._waiting = self._in_progress = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request, or answer 503."""
        if scope["type"] != "http" or is_probe(scope):
            await self.app(scope, receive, send)
        elif self._is_full(scope["state"]["resources"].settings.max_waiting_requests):
            await send_problem(OverloadedError(), scope, receive, send)
        else:
            self._in_progress += 1
            try:
                await self._admit(scope, receive, send)
            finally:
                self._in_progress -= 1

    def _is_full(self, max_waiting: int) -> bool:
        files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        max_in_progress = min(_MAX_REQUESTS, files * 3 // 10)
        return self._waiting >= max_waiting or self._in_progress >= max_in_progress

    async def _admit(self, scope: Scope, receive: Receive, send: Send) -> None:
        waiting = 0
        has_begun = False

        def wait(places: int) -> None:
            nonlocal waiting
            self._waiting += places - waiting
            waiting = places

        async def receive_body() -> Message:
            message = await receive()
            if message["type"] == "http.request" and not message.get("more_body"):
                wait(1)
            return message

        async def send_response(message: Message) -> None:
            nonlocal has_begun
            has_begun = True
            wait(0)
            await send(message)

        try:
            wait(0 if scope["method"] in _WITH_BODY else 1)
            await self.app(scope, receive_body, send_response)
        except asyncio.CancelledError:
            if has_begun:
                raise
            error = NotReadyError("The service is shutting down; try again.")
            await send_problem(error, scope, receive, send)
        finally:
            wait(0)
