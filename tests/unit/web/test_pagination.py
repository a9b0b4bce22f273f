"""Cursors are opaque to clients, and valid only in the listing that issued them."""

import base64
from datetime import UTC, datetime

import pytest
from fastapi import Request
from hypothesis import given
from hypothesis import strategies as st

from errors import InvalidCursorError
from tests.support.records import IMAGE
from web.pagination import OrderName, decode_cursor, encode_cursor, next_link

NAME: OrderName = "name"
UPDATED: OrderName = "-last_updated_at"
IDS = st.integers(1, 2**63 - 1)
MOMENTS = st.datetimes(datetime(1970, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - a bound


@given(IDS, MOMENTS)
def test_moments(number: int, moment: datetime) -> None:
    """A cursor keeps the microseconds of a moment, and the id."""
    last = IMAGE._replace(id=number, last_updated_at=moment)
    assert decode_cursor(UPDATED, "", encode_cursor(UPDATED, "", last)) == (moment, number)


@pytest.mark.parametrize("name", ["a", "é" * 127, "😀" * 63, '"', "%00", "a b", "\u200b"])
def test_names(name: str) -> None:
    """A cursor keeps a name, whatever characters it has, and fits in a URL as it is."""
    cursor = encode_cursor(NAME, "", IMAGE._replace(name=name))
    assert decode_cursor(NAME, "", cursor) == (name, IMAGE.id)
    assert cursor.replace("-", "").replace("_", "").isalnum()


@pytest.mark.parametrize(("order", "prefix"), [("-name", "p"), ("name", ""), ("name", "P")])
def test_another_listing(order: OrderName, prefix: str) -> None:
    """A cursor of another order or prefix is refused."""
    cursor = encode_cursor(NAME, "p", IMAGE)
    with pytest.raises(InvalidCursorError, match="another order or prefix"):
        decode_cursor(order, prefix, cursor)


@given(st.binary(max_size=40) | st.text('[]{}"0123456789,.e-tfn', max_size=40).map(str.encode))
def test_any_bytes(document: bytes) -> None:
    """Whatever a client invents is refused as an invalid cursor."""
    forged = base64.urlsafe_b64encode(document).decode()
    for order in (NAME, UPDATED):
        with pytest.raises(InvalidCursorError):
            decode_cursor(order, "", forged)


def test_next_link() -> None:
    """The link keeps the parameters of the page, replaces its cursor, and escapes all of them."""
    query = b"prefix=a%26b&limit=5&cursor=old"
    request = Request({"type": "http", "path": "/images", "query_string": query, "headers": []})
    expected = '</images?prefix=a%26b&limit=5&cursor=new>; rel="next"'
    assert next_link(request, "new") == {"Link": expected}
    assert next_link(request, None) == {}
