"""Pictures with secrets in every place that their format has."""

import itertools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from hypothesis import strategies as st

from tests.support.metadata_places import PLANTED_FORMATS, Pieces


class Planted(NamedTuple):
    """A file with secrets, and the same file without them or anything else that was added."""

    content: bytes
    plain: bytes


@st.composite
def planted(draw: Callable[[st.SearchStrategy[Any]], Any], image_format: str) -> Planted:
    """Draw a file with any number of secrets."""
    rules = PLANTED_FORMATS[image_format]
    plain: Pieces = draw(st.sampled_from(rules.plain()))
    pieces = plain
    for change in rules.changes:
        if draw(st.booleans()):
            pieces = change(pieces)
    for plant in draw(st.lists(st.sampled_from(rules.plants), max_size=6)):
        at = draw(st.integers(rules.first(plain), len(pieces)))
        pieces = [*pieces[:at], plant, *pieces[at:]]
    end = draw(st.sampled_from(rules.ends))
    return Planted(rules.join(pieces) + end, rules.join(plain) + rules.ends[0])


def planted_once(image_format: str) -> Iterator[bytes]:
    """Yield a file for each secret in each place of each plain file."""
    rules = PLANTED_FORMATS[image_format]
    for plain in rules.plain():
        for change in rules.changes:
            yield rules.join(change(plain)) + rules.ends[0]
        for plant, at in itertools.product(rules.plants, range(rules.first(plain), len(plain) + 1)):
            yield rules.join([*plain[:at], plant, *plain[at:]]) + rules.ends[0]
        yield from (rules.join(plain) + end for end in rules.ends)
