"""Paths that would mean something else once they are decoded are refused before routing."""

from urllib.parse import unquote_to_bytes

from fastapi import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from errors import InvalidNameError
from web.problem_details import answer_service_error


class PathGuardMiddleware:
    """Refuses names in paths that the server's decoding changed.

    It decodes the path for routing, which turns `%2F` into a path separator, so that
    `/images/a%2Fmetadata` would describe `a`, and wrong UTF-8 into replacement characters, so
    that different names would become one.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer 400."""
        raw_path: bytes = (scope.get("raw_path") or b"") if scope["type"] == "http" else b""
        if b"%" in raw_path and (fault := _fault(raw_path)):
            answer = await answer_service_error(Request(scope), InvalidNameError(fault))
            await answer(scope, receive, send)
        else:
            await self.app(scope, receive, send)


def _fault(raw_path: bytes) -> str | None:
    if b"%2f" in raw_path.lower():
        return "The image name contains a slash."
    try:
        unquote_to_bytes(raw_path).decode()
    except UnicodeDecodeError:
        return "The image name is not valid UTF-8."
    return None
