"""HDR pictures are dimmed without losing black, white or the order of greys."""

from itertools import pairwise

import pytest
from PIL import Image

from imaging.rendering.hdr import TRANSFERS, to_srgb

PQ, HLG = 16, 18
BT2020 = 9


def levels(image: Image.Image) -> list[int]:
    """Return all samples of a picture."""
    return list(image.tobytes())


@pytest.mark.parametrize("transfer", TRANSFERS)
def test_greys(transfer: int) -> None:
    """Black stays black, the brightest grey is white, and no grey becomes darker than a darker one.

    A picture of greys in RGB has the same, but for the interpolation of its table.
    """
    ramp = Image.frombytes("L", (256, 1), bytes(range(256)))
    greys = levels(to_srgb(ramp, BT2020, transfer))
    assert (greys[0], greys[255]) == (0, 255)
    assert all(darker <= brighter for darker, brighter in pairwise(greys))
    coloured = to_srgb(ramp.convert("RGB"), BT2020, transfer)
    for band in coloured.split():
        assert levels(band)[::32] == pytest.approx(greys[::32], abs=9)


def test_reference_white() -> None:
    """White of 203 nits (ITU-R BT.2408) is shown as half of the light of a display."""
    sample = round(255 * 0.5807)
    (shown,) = levels(to_srgb(Image.new("L", (1, 1), sample), BT2020, PQ))
    assert shown == pytest.approx(188, abs=2)


def test_primaries() -> None:
    """A colour keeps its hue, and looks paler if its primaries are narrower."""
    red = Image.new("RGB", (1, 1), (120, 30, 30))
    wide, narrow = (levels(to_srgb(red, primaries, HLG)) for primaries in (BT2020, 1))
    for shown in (wide, narrow):
        assert shown[0] > shown[1]
        assert shown[0] > shown[2]
    assert wide[0] - wide[1] > narrow[0] - narrow[1]
