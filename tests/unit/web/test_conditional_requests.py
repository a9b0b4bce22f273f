"""Conditions find a version in a list of tags, or by its date, in linear time."""

import time
import tracemalloc
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime, parsedate_to_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import Headers

from errors import PreconditionFailedError
from tests.support.records import IMAGE, STORED
from web.conditional_requests import is_not_modified, write_precondition
from web.validators import Validators

CURRENT = Validators('"current"', STORED)
TAGS = st.tuples(
    st.sampled_from(["", "W/"]), st.sampled_from(['"current"', '"other"', '"a, b"', '""'])
)
SEPARATORS = st.sampled_from([",", ", ", " ,\t", ",,"])


@given(st.lists(TAGS, min_size=1, max_size=5), SEPARATORS)
def test_lists(tags: list[tuple[str, str]], separator: str) -> None:
    """If-None-Match compares tags weakly, If-Match strongly (RFC 9110 section 8.8.3.2)."""
    value = separator.join(weak + tag for weak, tag in tags)
    named = CURRENT.etag in {tag for _, tag in tags}
    assert is_not_modified(Headers({"if-none-match": value}), CURRENT) is named
    strongly = ("", CURRENT.etag) in tags
    with nullcontext() if strongly else pytest.raises(PreconditionFailedError):
        is_not_modified(Headers({"if-match": value}), CURRENT)


@given(st.integers(-(10**6), 10**6), st.integers(0, 999_999))
def test_dates(distance: int, microseconds: int) -> None:
    """Only the exact second of a version proves that the client has seen it."""
    stored = CURRENT.last_modified.replace(microsecond=microseconds)
    seen = CURRENT.last_modified + timedelta(seconds=distance)
    headers = Headers({"if-modified-since": format_datetime(seen, usegmt=True)})
    assert is_not_modified(headers, Validators(CURRENT.etag, stored)) is (distance == 0)


def test_never_in_the_future() -> None:
    """Last-Modified is not later than now (RFC 9110 section 8.8.2.1)."""
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    sent = Validators('"a"', tomorrow).headers()["Last-Modified"]
    assert parsedate_to_datetime(sent) <= datetime.now(UTC)


def test_create_only() -> None:
    """`If-None-Match: *` lets an upload create an image, but not replace one."""
    require = write_precondition(Headers({"if-none-match": "*"}))
    require(None)
    with pytest.raises(PreconditionFailedError):
        require(IMAGE)


LONG_LISTS = [
    '"a",' * 10**6,
    '"a" ' * 10**6,
    " " * 10**6,
    '"a"' + " ," * 10**6 + "x",
    'W/"' * 10**6,
]


@pytest.mark.parametrize("tags", LONG_LISTS, ids=["tags", "spaced", "blank", "gap", "open"])
def test_long_lists(tags: str) -> None:
    """Parsing a long list of entity tags takes linear time and little memory."""
    current = Validators('"current"', datetime.now(UTC))
    tenth = tags[: len(tags) // 10]
    tracemalloc.start()
    try:
        assert not is_not_modified(Headers({"if-none-match": tenth}), current)
        assert tracemalloc.get_traced_memory()[1] < 3 * len(tenth) + 10_000  # copies of the field
    finally:
        tracemalloc.stop()
    spent = []
    for part in (tenth, tags):
        begun = time.process_time()
        assert not is_not_modified(Headers({"if-none-match": part}), current)
        spent.append(time.process_time() - begun)
    assert spent[1] < 30 * spent[0] + 0.1  # quadratic parsing takes a hundred times as long
