"""Conditional requests (RFC 9110 section 13) as pure functions of headers."""

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from starlette.datastructures import Headers

from errors import PreconditionFailedError
from services.image_store import ImageRecord, Precondition
from web.validators import Validators, image_validators

# entity-tag = [ weak ] opaque-tag (RFC 9110 section 8.8.3) as an element of a list (section 5.6.1).
# A tag may contain white space. Possessive quantifiers prevent backtracking.
_ENTITY_TAG = re.compile(r'(W/)?+("[\t\x20\x21\x23-\x7e\x80-\xff]*+")\s*+(?:,[\s,]*+|$)')
# HTTP-date in its three formats (RFC 9110 section 5.6.7)
_HTTP_DATE = re.compile(
    r"[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT"
    r"|[A-Z][a-z]+, \d\d-[A-Z][a-z]{2}-\d\d \d\d:\d\d:\d\d GMT"
    r"|[A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d \d{4}"
)


def write_precondition(headers: Headers) -> Precondition:
    """Return the precondition of an upload or a deletion (RFC 9110 section 13.2.2)."""

    def require(image: ImageRecord | None) -> None:
        current = image_validators(image) if image else None
        _require_unchanged(headers, current)
        if (tags := _field(headers, "if-none-match")) is not None and _names(tags, current):
            raise PreconditionFailedError

    return require


def is_not_modified(headers: Headers, current: Validators, *, dated: bool = True) -> bool:
    """Return whether the response to a GET or HEAD is 304. Raises PreconditionFailedError for 412.

    If not `dated`, ignores If-Modified-Since: the document may change without a new date.
    """
    _require_unchanged(headers, current)
    if (tags := _field(headers, "if-none-match")) is not None:
        return _names(tags, current)
    # A later date does not prove that the client has this version (RFC 9110 section 13.1.3).
    return dated and _date(_field(headers, "if-modified-since")) == _seconds(current)


def _require_unchanged(headers: Headers, current: Validators | None) -> None:
    if (tags := _field(headers, "if-match")) is not None:
        if not _names(tags, current, strong=True):
            raise PreconditionFailedError
        return
    since = _date(_field(headers, "if-unmodified-since"))
    if since is not None and (current is None or _seconds(current) > since):
        raise PreconditionFailedError


def _names(tags: str, current: Validators | None, *, strong: bool = False) -> bool:
    """Return whether a list of entity tags, or `*`, contains the current version."""
    if current is None:
        return False
    if tags.strip() == "*":
        return True
    tags = tags.lstrip(" \t,")
    found, position = False, 0
    while position < len(tags):
        element = _ENTITY_TAG.match(tags, position)
        if element is None:
            return False
        weak, tag = element.groups()
        found |= tag == current.etag and not (strong and weak)
        position = element.end()
    return found


def _field(headers: Headers, name: str) -> str | None:
    """Return all lines of a list-valued field as one (RFC 9110 section 5.3)."""
    return ", ".join(headers.getlist(name)) if name in headers else None


def _date(value: str | None) -> datetime | None:
    """Parse an HTTP-date; return None if it is missing or malformed, and thus ignored."""
    if value is None or not _HTTP_DATE.fullmatch(value):
        return None
    try:
        return parsedate_to_datetime(value).replace(tzinfo=UTC)
    except ValueError:
        return None


def _seconds(current: Validators) -> datetime:
    return current.last_modified.replace(microsecond=0)
