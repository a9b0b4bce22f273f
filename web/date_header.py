"""The Date header of responses (RFC 9110 section 6.6.1)."""

import functools
import time
from email.utils import formatdate


def http_date() -> bytes:
    """Return the current time as the value of a Date header."""
    return _http_date(int(time.time()))


@functools.lru_cache(maxsize=1)
def _http_date(seconds: int) -> bytes:
    return formatdate(seconds, usegmt=True).encode()
