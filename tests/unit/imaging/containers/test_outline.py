"""Viewers display a picture upright."""

import pytest

from imaging.containers.outline import Outline


@pytest.mark.parametrize("orientation", range(1, 9))
def test_shown(orientation: int) -> None:
    """Four of the eight orientations swap width and height."""
    shown = Outline(width=4, height=3, orientation=orientation).shown
    assert shown == ((3, 4) if orientation >= 5 else (4, 3))
