"""Range requests (RFC 9110 section 14) as pure functions of headers."""

import re

from starlette.datastructures import Headers

from errors import RangeNotSatisfiableError
from web.validators import Validators

_RANGES = re.compile(r"bytes=(.*)", re.IGNORECASE)
_RANGE = re.compile(r"(\d{1,100})-(\d{0,100})|-(\d{1,100})")


def select_range(headers: Headers, current: Validators, size: int) -> tuple[int, int] | None:
    """Return the first and last byte that a GET requests, or None for the whole object.

    A Range that is malformed, has another unit or several parts is ignored, as RFC 9110 section
    14.2 allows. Raises RangeNotSatisfiableError.
    """
    ranges = _RANGES.fullmatch(headers.get("range", ""))
    if ranges is None or not _may_continue(headers.get("if-range"), current):
        return None
    part = _RANGE.fullmatch(ranges[1].strip(" \t,"))
    if part is None:
        return None
    first, last, suffix = part.groups()
    if suffix is not None:
        begin, end = max(0, size - int(suffix)), size - 1
    else:
        begin, end = int(first), min(int(last or size - 1), size - 1)
        if last and int(last) < begin:
            return None
    if begin >= size:
        raise RangeNotSatisfiableError(size)
    return begin, end


def render_content_range(part: tuple[int, int], size: int) -> str:
    """Return the Content-Range of a `part` of `size` bytes (RFC 9110 section 14.4)."""
    return f"bytes {part[0]}-{part[1]}/{size}"


def _may_continue(if_range: str | None, current: Validators) -> bool:
    """Return whether If-Range, if any, names `current` (RFC 9110 section 13.1.5).

    A date never does, because several versions may have been stored within one second.
    """
    return if_range is None or if_range.strip() == current.etag
