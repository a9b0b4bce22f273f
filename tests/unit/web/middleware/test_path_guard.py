"""Paths that decoding changes are refused before any rule looks at them."""

from urllib.parse import quote, unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from errors import InvalidNameError, InvalidRequestError
from tests.support.records import SETTINGS
from web.middleware.path_guard import refuse_ambiguous_paths

SEGMENTS = st.text(st.characters(codec="utf-8", exclude_categories=["Cc"], exclude_characters="/"))


def refusal(raw_path: str) -> InvalidRequestError | None:
    """Return why the path is refused, decoded as servers decode it."""
    scope = {"path": unquote(raw_path), "raw_path": raw_path.encode()}
    return refuse_ambiguous_paths(scope, SETTINGS)


@given(SEGMENTS)
def test_names(name: str) -> None:
    """No name of an image is refused for its spelling."""
    assert refusal(f"/images/{quote(name, safe='')}") is None


@pytest.mark.parametrize("segment", ["a%2Fb", "a%2fb", "%ff", "%C0%AF", "%ed%a0%80", "a%0A", "%7f"])
def test_ambiguous(segment: str) -> None:
    """Encoded slashes, invalid UTF-8 and control characters are refused, even outside of names."""
    assert isinstance(refusal(f"/images/{segment}"), InvalidNameError)
    other = refusal(f"/metrics{segment}")
    assert other
    assert not isinstance(other, InvalidNameError)
