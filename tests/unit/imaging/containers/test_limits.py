"""Limits on pixels apply to one frame, to all frames together, and to each side."""

import pytest

from errors import TooManyPixelsError
from imaging.containers.content import MalformedImageError
from imaging.containers.limits import PixelLimits


def test_frame() -> None:
    """A picture may have exactly as many pixels as the limit."""
    limits = PixelLimits(frame=12, animation=0)
    limits.check(4, 3)
    with pytest.raises(TooManyPixelsError, match="at most 12 pixels"):
        limits.check(13, 1)


def test_sides() -> None:
    """A long side is refused even if the picture has few pixels."""
    limits = PixelLimits(frame=10**6, animation=0)
    limits.check(65_535, 1)
    with pytest.raises(TooManyPixelsError, match="side"):
        limits.check(1, 65_536)


@pytest.mark.parametrize("size", [(0, 1), (1, 0)])
def test_empty(size: tuple[int, int]) -> None:
    """A picture without pixels is malformed."""
    with pytest.raises(MalformedImageError):
        PixelLimits(10, 10).check(*size)


def test_animation() -> None:
    """Frames add up, and a tiny one counts as the minimum that its decoding costs."""
    limits = PixelLimits(frame=10**6, animation=1_050_000)
    limits.spend(1000, 1000)
    limits.spend(1, 1)
    with pytest.raises(TooManyPixelsError, match="All frames together"):
        limits.spend(1, 1)
