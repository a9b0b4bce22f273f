"""The Date of responses (RFC 9110 section 6.6.1)."""

import functools
import time
from email.utils import formatdate
from typing import Any, Self


class DatedHeaders(list[tuple[bytes, bytes]]):
    """uvicorn's default headers, which add the current Date to the headers of each response.

    uvicorn's own Date is the time of the request, which precedes the Last-Modified of an upload.
    """

    def __add__(self, headers: Any) -> Any:
        return [*self, (b"date", http_date()), *headers]

    def __radd__(self, date: Any) -> Self:
        return self


def http_date() -> bytes:
    """Return the current time as the value of a Date header."""
    return _http_date(int(time.time()))


@functools.lru_cache(maxsize=1)
def _http_date(seconds: int) -> bytes:
    return formatdate(seconds, usegmt=True).encode()
