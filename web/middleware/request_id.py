"""A request's id: in the answer, in its problem document, and in every line logged meanwhile."""

import logging
import random
import re
from contextvars import ContextVar

from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADER = "X-Request-ID"
_FIELD = HEADER.lower().encode()
_ACCEPTABLE = re.compile(rb"[A-Za-z0-9._-]{1,128}")

request_id: ContextVar[str] = ContextVar("request_id", default="-")


def mint() -> str:
    """A new id. Needs no secrecy, and the system's randomness would cost a switch of threads."""
    return f"{random.getrandbits(128):032x}"


class RequestIdMiddleware:
    """Takes the id that a proxy in front gave, or mints one. Pure ASGI: costs next to nothing."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request under its id."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        given = b""
        for name, value in scope["headers"]:  # starlette's Headers would take 2 us
            if name == _FIELD:
                given = value
                break
        identity = given.decode() if _ACCEPTABLE.fullmatch(given) else mint()
        request_id.set(identity)

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (_FIELD, identity.encode())]
            await send(message)

        await self.app(scope, receive, send_with_id)


class RequestIdFilter(logging.Filter):
    """Puts the id of the current request into log records as `request_id`."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Add the id, unless the record has one; keep the record."""
        if not hasattr(record, "request_id"):
            record.request_id = request_id.get()
        return True
