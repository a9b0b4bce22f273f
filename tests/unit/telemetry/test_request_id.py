"""Request ids are plain text, whatever a proxy sends."""

import logging
import re

import pytest
from asgi_correlation_id import correlation_id
from hypothesis import given
from hypothesis import strategies as st

from telemetry.request_id import accept_request_id, add_request_id, current_request_id

PLAIN = st.from_regex("[A-Za-z0-9._-]{1,128}", fullmatch=True)


@given(PLAIN)
def test_kept(given_id: str) -> None:
    """A plain id from a proxy is kept."""
    assert accept_request_id(given_id) == given_id


@pytest.mark.parametrize("given_id", ["", "a b", "a\n", "é", '"', "a" * 129, "../a;b"])
def test_replaced(given_id: str) -> None:
    """Any other id is replaced by a new one each time."""
    first, second = (accept_request_id(given_id) for _ in range(2))
    assert first != second
    assert re.fullmatch("[0-9a-f]{32}", first)


def test_log() -> None:
    """A record gets the id of its request, or a dash, and keeps an id that it has."""
    record = logging.makeLogRecord({})
    assert current_request_id() == "-"
    token = correlation_id.set("the-id")
    try:
        assert add_request_id(record)
    finally:
        correlation_id.reset(token)
    assert add_request_id(record)
    assert vars(record)["request_id"] == "the-id"
