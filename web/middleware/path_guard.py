"""Refuses paths that mean something else once they are decoded, before any rule looks at them."""

import re
from urllib.parse import unquote_to_bytes

from fastapi import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from errors import InvalidNameError, InvalidRequestError
from web.middleware.routed_path import routed_path
from web.problem_details import answer_service_error

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")  # C0, DEL and C1


class PathGuardMiddleware:
    """Refuses paths that the server's decoding changes.

    `%2F` becomes a path separator, so that `/images/a%2Fmetadata` would describe `a`. Wrong UTF-8
    becomes replacement characters, so that two names would be one. Routes are regular expressions,
    whose `$` matches before a line feed, so that `/metrics%0A` would pass each rule for `/metrics`.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer 400."""
        if scope["type"] == "http" and (fault := _fault(scope)):
            of_image = routed_path(scope).startswith("/images/")
            error = InvalidNameError(fault) if of_image else InvalidRequestError(fault)
            answer = await answer_service_error(Request(scope), error)
            await answer(scope, receive, send)
        else:
            await self.app(scope, receive, send)


def _fault(scope: Scope) -> str | None:
    raw_path: bytes = scope.get("raw_path") or b""
    if _CONTROL.search(scope["path"]):
        return "The path contains a control character."
    if b"%" not in raw_path:
        return None
    if b"%2f" in raw_path.lower():
        return "The path contains an encoded slash."
    try:
        unquote_to_bytes(raw_path).decode()
    except UnicodeDecodeError:
        return "The path is not valid UTF-8."
    return None
