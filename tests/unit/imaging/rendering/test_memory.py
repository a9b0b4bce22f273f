"""The memory of a rendering grows with what takes it; tests/imaging measures that it suffices."""

from dataclasses import replace

import pytest

from config import VariantSpec
from imaging.rendering.memory import rendering_bytes
from imaging.stills.still import Still

SMALL, LARGE = VariantSpec(160, 160), VariantSpec(2048, 2048)
OPAQUE = Still([b""], (2000, 2000), 5, is_opaque=True)


def test_pixels() -> None:
    """Each pixel of the picture counts."""
    more = replace(OPAQUE, canvas=(2000, 3000))
    difference = rendering_bytes(more, SMALL, "png") - rendering_bytes(OPAQUE, SMALL, "png")
    assert difference > 5 * 2000 * 900


def test_scaled() -> None:
    """A small variant of a JPEG is cheaper than a large one: it is decoded at a fraction."""
    jpeg = replace(OPAQUE, canvas=(4000, 3000), scales=True)
    small, large = (rendering_bytes(jpeg, box, "jpg") for box in (SMALL, LARGE))
    assert 3 * small < 2 * large


@pytest.mark.parametrize("encoding", ["jpg", "png", "webp", "avif"])
def test_encoding(encoding: str) -> None:
    """For a variant as large as its picture, the encoder decides, and transparency costs more."""
    transparent = replace(OPAQUE, is_opaque=False)
    most, least = (rendering_bytes(picture, LARGE, encoding) for picture in (transparent, OPAQUE))
    assert most > least >= 16 * 2000 * 2000
