"""Conditions of requests are parsed in linear time."""

import time
import tracemalloc
from datetime import UTC, datetime

import pytest
from starlette.datastructures import Headers

from web.conditional_requests import Validators, is_not_modified

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
