"""What is answered where there is no request that the application could answer."""

import logging

from asgi_correlation_id import correlation_id
from starlette.requests import Request
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from errors import ServiceError
from telemetry.recorder import recorder
from telemetry.request_id import current_request_id, new_request_id
from web.middleware.observation import UNMATCHED
from web.problem_details import problem

logger = logging.getLogger("image_api")


def render_refusal(error: ServiceError, headers: list[tuple[bytes, bytes]]) -> bytes:
    """Return a whole HTTP/1.1 response, after which the connection ends: a problem document.

    It names the path "/", whatever was asked for. The log has the id.
    """
    token = correlation_id.set(new_request_id())
    try:
        logger.info("Refused: %s: %s", error.code, error.detail)
        scope = {"type": "http", "path": "/", "query_string": b"", "headers": []}
        answer = problem(
            Request(scope), error.status, error.code, error.title, error.detail, error.headers
        )
        recorder.count_request(UNMATCHED, "other", error.status, 0.0)
        recorder.count_bytes(0, len(bytes(answer.body)))
        recorder.count_code(error.code)
        last = [(b"x-request-id", current_request_id().encode()), (b"connection", b"close")]
    finally:
        correlation_id.reset(token)
    lines = [name + b": " + value for name, value in [*headers, *answer.raw_headers, *last]]
    return STATUS_LINE[error.status] + b"\r\n".join([*lines, b"", bytes(answer.body)])
