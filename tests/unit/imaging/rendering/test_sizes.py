"""A spec defines the size of a variant, and the part of the picture that it shows."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config import VariantSpec
from imaging.rendering.sizes import shown_region, target_size

SIDES = st.integers(1, 8192)
SPECS = st.builds(VariantSpec, SIDES, SIDES, st.booleans())
PICTURES = st.tuples(st.integers(1, 20_000), st.integers(1, 20_000))


@pytest.mark.parametrize(
    ("shown", "spec", "size", "region"),
    [
        ((4000, 3000), "320", (320, 240), (0, 0, 4000, 3000)),
        ((3000, 4000), "320", (240, 320), (0, 0, 3000, 4000)),
        ((4000, 3000), "640x100", (133, 100), (0, 0, 4000, 3000)),
        ((200, 100), "320", (200, 100), (0, 0, 200, 100)),
        ((10_000, 3), "320", (320, 1), (0, 0, 10_000, 3)),
        ((3, 10_000), "320", (1, 320), (0, 0, 3, 10_000)),
        ((4000, 3000), "320x320-crop", (320, 320), (500, 0, 3500, 3000)),
        ((3000, 4001), "320x320-crop", (320, 320), (0, 500.5, 3000, 3500.5)),
        ((320, 321), "320x320-crop", (320, 320), (0, 0, 320, 320)),
        ((200, 1000), "320x320-crop", (200, 200), (0, 400, 200, 600)),
        ((1001, 200), "320x320-crop", (200, 200), (400, 0, 600, 200)),
        ((319, 319), "320x320-crop", (319, 319), (0, 0, 319, 319)),
        ((200, 1000), "320x160-crop", (200, 100), (0, 450, 200, 550)),
        ((1211, 900), "1200x630-crop", (1200, 630), (0, 132.1125, 1211, 767.8875)),
    ],
)
def test_sizes(
    shown: tuple[int, int], spec: str, size: tuple[int, int], region: tuple[float, ...]
) -> None:
    """A spec defines the size of a variant and the region of the picture that it shows."""
    parsed = VariantSpec.parse(spec)
    assert target_size(shown, parsed) == size
    assert shown_region(shown, parsed) == pytest.approx(region)
    assert min(shown_region(shown, parsed)) >= 0  # Pillow refuses even tiny negative values


@given(PICTURES, SPECS)
def test_never_enlarged(shown: tuple[int, int], spec: VariantSpec) -> None:
    """A variant has the largest size that picture and spec allow, in the region's proportions."""
    width, height = target_size(shown, spec)
    left, top, right, bottom = shown_region(shown, spec)
    assert 1 <= width <= min(shown[0], spec.width)
    assert 1 <= height <= min(shown[1], spec.height)
    assert 0 <= left < right <= shown[0]
    assert 0 <= top < bottom <= shown[1]
    assert right - left >= width - 1e-6
    assert bottom - top >= height - 1e-6
    exact = (right - left) * height / (bottom - top), (bottom - top) * width / (right - left)
    assert abs(width - exact[0]) <= 1 + 1e-6 or abs(height - exact[1]) <= 1 + 1e-6
    if not spec.crop:
        assert (width in {shown[0], spec.width}) or (height in {shown[1], spec.height})
    else:
        assert abs(left + right - shown[0]) <= 1 + 1e-6
        assert abs(top + bottom - shown[1]) <= 1 + 1e-6
