"""Responses to connections whose request never reaches the application."""

from http import HTTPStatus

from asgi_correlation_id import correlation_id
from starlette.requests import Request

from errors import ServiceError
from telemetry import logger
from telemetry.metrics import recorder
from telemetry.request_id import current_request_id, new_request_id
from web.date_header import http_date
from web.problem_details import problem
from web.routed_path import UNMATCHED


def render_refusal(error: ServiceError, headers: list[tuple[bytes, bytes]]) -> bytes:
    """Return a complete HTTP/1.1 response with a problem document; it closes the connection.

    `instance` is always "/". The request is counted, and logged with a new id.
    """
    token = correlation_id.set(new_request_id())
    try:
        logger.info("Refused: %s: %s", error.code, error.detail)
        scope = {"type": "http", "path": "/", "query_string": b"", "headers": []}
        answer = problem(Request(scope), error)
        recorder.count_request(UNMATCHED, "other", error.status, 0.0)
        recorder.count_bytes(0, len(bytes(answer.body)))
        recorder.count_code(error.code)
        ours = [(b"x-request-id", current_request_id().encode()), (b"date", http_date())]
    finally:
        correlation_id.reset(token)
    fields = [*headers, *answer.raw_headers, *ours, (b"connection", b"close")]
    lines = [name + b": " + value for name, value in fields]
    status = f"HTTP/1.1 {error.status} {HTTPStatus(error.status).phrase}".encode()
    return b"\r\n".join([status, *lines, b"", bytes(answer.body)])
