"""Transfer functions keep black and white, and the order of samples."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imaging.rendering.transfer_functions import NAMED, encode_srgb, power, samples_in_srgb, srgb

_SMPTE_428 = 17  # whose white is brighter than that of a display


@given(st.floats(0, 1))
def test_srgb(sample: float) -> None:
    """Encoding sRGB inverts decoding it."""
    assert encode_srgb(srgb(sample)) == pytest.approx(sample, abs=1e-6)


@pytest.mark.parametrize("number", NAMED)
def test_named(number: int) -> None:
    """A brighter sample never becomes darker; black stays black, and white stays white."""
    samples = samples_in_srgb(NAMED[number])
    assert (samples[0], samples[255]) == (0, 255)
    assert all(darker <= brighter for darker, brighter in pairwise(samples))
    assert NAMED[number](1) == pytest.approx(1) or number == _SMPTE_428


def test_identity() -> None:
    """Samples in sRGB stay as they are."""
    assert samples_in_srgb(srgb) == list(range(256))


def test_linear() -> None:
    """Half of the light is a bright grey in sRGB."""
    assert samples_in_srgb(power(1))[128] == 188
