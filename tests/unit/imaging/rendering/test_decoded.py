"""Pictures are decoded at a fraction of their size where that leaves enough for the variant."""

from dataclasses import replace

import pytest
from PIL import Image, ImageChops, ImageStat

from imaging.rendering.decoded import decoded
from imaging.rendering.sizes import Region, Size
from imaging.stills.formats import still
from tests.support.pictures import encoded, jpeg, picture

WHOLE: Region = (0, 0, 1600, 1200)


def size_for(content: bytes, image_format: str, target: Size, region: Region = WHOLE) -> Size:
    """Return the size at which a picture is decoded."""
    found, _ = decoded(still(content, image_format), image_format, region, target)
    return found.size


@pytest.mark.parametrize(
    ("target", "size"),
    [
        ((533, 399), (800, 600)),
        ((534, 400), (1600, 1200)),
        ((133, 99), (200, 150)),
        ((9, 7), (200, 150)),
    ],
)
def test_large_jpeg(target: Size, size: Size) -> None:
    """The fraction of a JPEG leaves at least 1.5 times the size of the variant."""
    assert size_for(jpeg(1600, 1200), "jpeg", target) == size


def test_small_jpeg() -> None:
    """The fraction of a small JPEG, whose detail is easily lost, leaves at least twice the size."""
    region: Region = (0, 0, 160, 120)
    assert size_for(jpeg(160, 120), "jpeg", (53, 40), region) == (160, 120)
    assert size_for(jpeg(160, 120), "jpeg", (39, 29), region) == (80, 60)


def test_progressive_jpeg() -> None:
    """At an eighth of its size a progressive JPEG is decoded from its coarse pieces alone."""
    source = still(encoded(picture(1600, 1200), "JPEG", progressive=True), "jpeg")
    coarse_only = replace(source, pieces=[])
    found, _ = decoded(coarse_only, "jpeg", WHOLE, (133, 99))
    assert found.size == (200, 150)
    with pytest.raises((OSError, SyntaxError)):
        decoded(coarse_only, "jpeg", WHOLE, (134, 99))


@pytest.mark.parametrize("lossless", [False, True])
def test_webp(*, lossless: bool) -> None:
    """An opaque WebP is decoded at twice the size of the variant."""
    content = encoded(picture(1600, 1200), "WEBP", lossless=lossless)
    assert size_for(content, "webp", (320, 240)) == (641, 481)
    assert size_for(content, "webp", (900, 675)) == (1600, 1200)


def test_transparent_webp() -> None:
    """A transparent WebP is decoded whole: averaging would mix in invisible colours."""
    transparent = picture(1600, 1200)
    transparent.putalpha(Image.linear_gradient("L").resize(transparent.size))
    content = encoded(transparent, "WEBP")
    assert size_for(content, "webp", (320, 240)) == (1600, 1200)


@pytest.mark.parametrize(
    ("image_format", "options"), [("jpeg", {"quality": 95}), ("webp", {"lossless": True})]
)
def test_region(image_format: str, options: dict[str, int]) -> None:
    """The region that the variant shows keeps its place at every fraction."""
    original = picture(1601, 1203)
    content, part = encoded(original, image_format, **options), (401.0, 203.0, 1201.0, 803.0)
    found, region = decoded(still(content, image_format), image_format, part, (80, 60))
    assert found.size < original.size
    shown = found.resize((80, 60), Image.Resampling.LANCZOS, region)
    expected = original.resize((80, 60), Image.Resampling.LANCZOS, part)
    assert max(ImageStat.Stat(ImageChops.difference(shown, expected)).mean) < 4
