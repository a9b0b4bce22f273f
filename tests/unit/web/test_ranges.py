"""A Range selects bytes that exist, or is ignored or refused (RFC 9110 section 14)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import Headers

from errors import RangeNotSatisfiableError
from tests.support.records import STORED
from web.ranges import select_range
from web.validators import Validators

SIZES = st.integers(1, 10_000)
CURRENT = Validators('"current"', STORED)


def selected(value: str, size: int) -> tuple[int, int] | None:
    """Return the first and last byte that a Range selects of a representation of that size."""
    return select_range(Headers({"Range": value}), CURRENT, size)


@given(SIZES, st.data())
def test_positions(size: int, data: st.DataObject) -> None:
    """A range that begins within the image ends with the image at the latest."""
    first = data.draw(st.integers(0, size - 1))
    last = data.draw(st.integers(first, 10**30))
    assert selected(f"bytes={first}-{last}", size) == (first, min(last, size - 1))
    assert selected(f"bytes={first}-", size) == (first, size - 1)


@given(SIZES, st.integers(1, 20_000))
def test_suffix(size: int, count: int) -> None:
    """A suffix selects as many bytes at the end, or all."""
    assert selected(f"bytes=-{count}", size) == (max(0, size - count), size - 1)


@given(SIZES, st.integers(0, 10**30))
def test_behind_the_end(size: int, distance: int) -> None:
    """A range that begins after the end is refused, and the refusal states the size."""
    with pytest.raises(RangeNotSatisfiableError) as refused:
        selected(f"bytes={size + distance}-", size)
    assert refused.value.headers == {"Content-Range": f"bytes */{size}"}


@given(st.text("0123456789-, =", max_size=30), SIZES)
def test_any_text(text: str, size: int) -> None:
    """Whatever a client sends, the selected bytes exist."""
    try:
        part = selected(f"bytes={text}", size)
    except RangeNotSatisfiableError:
        return
    assert part is None or 0 <= part[0] <= part[1] < size
