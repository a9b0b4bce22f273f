"""Pages of the listing: parameters, opaque cursors, and the link to the next page."""

import base64
import json
from datetime import UTC, datetime
from typing import Annotated, Any, Literal
from urllib.parse import urlencode

from fastapi import Query, Request

from errors import InvalidCursorError, InvalidNameError
from services.image_store import ImageRecord
from services.names import normalise_prefix

OrderName = Literal["name", "-name", "last_updated_at", "-last_updated_at"]
Limit = Annotated[int, Query(ge=1, le=1000, description="Maximum number of images on a page.")]
Cursor = Annotated[str | None, Query(description="`next_cursor` of the previous page.")]
Prefix = Annotated[str, Query(max_length=255, description="What the names begin with.")]
OrderBy = Annotated[OrderName, Query(description="A minus sign means descending.")]

# Longer than a cursor with the longest prefix and name
_MAX_CURSOR_BYTES = 4096
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def encode_cursor(order: OrderName, prefix: str, last: ImageRecord) -> str:
    """Return the cursor of the page that follows `last`. Clients treat it as opaque."""
    value: Any = getattr(last, order.removeprefix("-"))
    if isinstance(value, datetime):
        value = (value - _EPOCH) // _EPOCH.resolution
    document = json.dumps([order, prefix, value, last.id], ensure_ascii=False)
    return base64.urlsafe_b64encode(document.encode()).decode().rstrip("=")


def decode_cursor(order: OrderName, prefix: str, cursor: str) -> tuple[Any, int]:
    """Return the sort value and the id of the image that the page follows.

    Raises InvalidCursorError unless the service issued the cursor for this order and prefix.
    """
    try:
        if len(cursor) > _MAX_CURSOR_BYTES:
            raise ValueError
        padded = cursor + "=" * (-len(cursor) % 4)
        document = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
        its_order, its_prefix, value, id_ = document
        if order.endswith("last_updated_at"):
            value = _EPOCH + _bigint(value) * _EPOCH.resolution
        elif normalise_prefix(value).encode() != value.encode():
            raise ValueError
        value_and_id = value, _bigint(id_)
    except (ValueError, TypeError, OverflowError, RecursionError, InvalidNameError):
        raise InvalidCursorError("The service did not issue this cursor.") from None
    if (its_order, its_prefix) != (order, prefix):
        raise InvalidCursorError("The cursor belongs to a listing with another order or prefix.")
    return value_and_id


def next_link(request: Request, cursor: str | None) -> dict[str, str]:
    """Return the Link header (RFC 8288) of the page at `cursor`, relative to this page."""
    if cursor is None:
        return {}
    parameters = dict(request.query_params) | {"cursor": cursor}
    return {"Link": f'<{request.url.path}?{urlencode(parameters)}>; rel="next"'}


def _bigint(value: object) -> int:
    # Not isinstance: JSON's `true` is an int to Python, but a boolean to PostgreSQL.
    if type(value) is not int or not -(2**63) <= value < 2**63:
        raise ValueError
    return value
