"""Answers errors with problem details (RFC 9457); errors.py lists their statuses and codes."""

import json
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException
from starlette.routing import Match
from starlette.types import Receive, Scope, Send

from errors import InvalidParameterError, OverloadedError, ServiceError
from telemetry import logger
from telemetry.request_id import HEADER, current_request_id
from telemetry.request_waits import note_code
from web.exhaustion import exhaustion

MEDIA_TYPE = "application/problem+json"
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


async def answer_service_error(request: Request, exc: ServiceError) -> Response:
    """Answer one of our own errors. Log its code, and its cause if the service is at fault."""
    if isinstance(exc, OverloadedError):  # without a stack trace, which would add load
        logger.warning("%s %s: %s", request.method, request.url.path, exc.code)
    elif exc.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        logger.error("%s %s: %s", request.method, request.url.path, exc.code, exc_info=exc)
    else:
        logger.info("%s %s: %s: %s", request.method, request.url.path, exc.code, exc.detail)
    return problem(request, exc)


async def send_problem(exc: ServiceError, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a request with one of our own errors before it reaches a route."""
    answer = await answer_service_error(Request(scope), exc)
    await answer(scope, receive, send)


async def answer_http_exception(request: Request, exc: HTTPException) -> Response:
    """Answer the framework's own errors, such as an unknown path or method."""
    error, status = ServiceError(str(exc.detail)), HTTPStatus(exc.status_code)
    error.status, error.title = status, status.phrase
    error.code = status.phrase.lower().replace(" ", "_").replace("-", "_")
    error.headers |= exc.headers or {}
    if status == HTTPStatus.METHOD_NOT_ALLOWED:
        error.headers["Allow"] = ", ".join(_allowed_methods(request))
    logger.info("%s %s: %s", request.method, request.url.path, error.code)
    return problem(request, error)


async def answer_validation_error(request: Request, exc: RequestValidationError) -> Response:
    """Answer invalid parameters; the detail names each."""
    faults = [f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in exc.errors()]
    return await answer_service_error(request, InvalidParameterError("; ".join(faults)))


async def answer_exhaustion(request: Request, exc: Exception) -> Response:
    """Answer if the host is out of disk, memory, threads or files; raise any other error."""
    if error := exhaustion(exc):
        return await answer_service_error(request, error)
    raise exc


async def answer_unexpected_error(request: Request, exc: Exception) -> Response:
    """Log any other error, and answer without its details.

    Errors of middleware also arrive here, and may mean that the host is out of resources.
    """
    if error := exhaustion(exc):
        answer = await answer_service_error(request, error)
    else:
        logger.error("%s %s: unexpected", request.method, request.url.path, exc_info=exc)
        answer = problem(request, ServiceError())
    # The middleware that adds this header does not see this response.
    answer.headers[HEADER] = current_request_id()
    return answer


def problem(request: Request, error: ServiceError) -> Response:
    """Render an error as a problem document."""
    note_code(error.code)
    document = {
        "type": f"urn:image-api:problem:{error.code}",
        "title": error.title,
        "status": error.status,
        "detail": error.detail,
        "instance": quote(request.scope["path"]),
        "code": error.code,
        "request_id": current_request_id(),
        **error.members,
    }
    headers = {"Cache-Control": "no-store"} | error.headers
    return Response(json.dumps(document, separators=(",", ":")), error.status, headers, MEDIA_TYPE)


def _allowed_methods(request: Request) -> list[str]:
    """Return the methods of all routes at this path; Starlette names those of the first only."""
    scope = dict(request.scope)
    return [
        method
        for method in _METHODS
        if any(
            route.matches(scope | {"method": method})[0] is Match.FULL
            for route in request.app.routes
        )
    ]


# `Any`: Starlette types handlers for any Exception, but calls each for its own class.
HANDLERS: dict[type[Exception], Any] = {
    ServiceError: answer_service_error,
    HTTPException: answer_http_exception,
    RequestValidationError: answer_validation_error,
    OSError: answer_exhaustion,
    MemoryError: answer_exhaustion,
    RuntimeError: answer_exhaustion,  # "can't start new thread"
    Exception: answer_unexpected_error,
}
