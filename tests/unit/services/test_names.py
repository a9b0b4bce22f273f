"""The rules for names of images."""

import time
from collections.abc import Callable

import pytest

from errors import InvalidNameError
from services.names import normalise_name, normalise_prefix


@pytest.mark.parametrize("normalise", [normalise_name, normalise_prefix])
def test_long_names_cost_nothing(normalise: Callable[[str], str]) -> None:
    """The length is checked before normalisation, which takes quadratic time."""
    begun = time.process_time()
    with pytest.raises(InvalidNameError):
        normalise("a" + "\u0301\u0327" * 200_000)
    assert time.process_time() < begun + 1
