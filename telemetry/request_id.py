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


def accept_request_id(given: str) -> str:
    """Return the id that a proxy sent, or a new one unless it has 1 to 128 plain characters."""
    return given if _ACCEPTED.fullmatch(given) else new_request_id()


def current_request_id() -> str:
    """Return the id of the current request, or `-` outside of requests."""
    return correlation_id.get() or "-"


class RequestIdFilter(logging.Filter):
    """Adds the id of the current request to log records as `request_id`."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Add the id unless the record has one; keep the record."""
        if not hasattr(record, "request_id"):
            record.request_id = current_request_id()
        return True
