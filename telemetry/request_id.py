"""Request ids in responses, problem documents, and every log line of a request."""

import logging
import random
import re

from asgi_correlation_id import correlation_id

HEADER = "X-Request-ID"
_ACCEPTED = re.compile("[A-Za-z0-9._-]{1,128}")


def new_request_id() -> str:
    """Return a new random id. It is not secret; `os.urandom` would cost a thread switch."""
    return f"{random.getrandbits(128):032x}"


def accept_request_id(received: str) -> str:
    """Return the id that a proxy sent if it has 1 to 128 plain characters, otherwise a new one."""
    return received if _ACCEPTED.fullmatch(received) else new_request_id()


def current_request_id() -> str:
    """Return the id of the current request, or `-` outside of requests."""
    return correlation_id.get() or "-"


def add_request_id(record: logging.LogRecord) -> bool:
    """Give a log record the `request_id` of the current request, unless it has one; keep it."""
    if not hasattr(record, "request_id"):
        record.request_id = current_request_id()
    return True
