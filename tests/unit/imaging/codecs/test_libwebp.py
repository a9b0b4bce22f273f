"""libwebp's own interface returns the pixels that Pillow returns, and averages while decoding."""

import io

import pytest
from PIL import Image, ImageChops, ImageStat

from imaging.codecs import libwebp
from imaging.containers.content import MalformedImageError
from tests.support.pictures import encoded, picture

OPAQUE = picture(90, 60)
TRANSLUCENT = OPAQUE.copy()
TRANSLUCENT.putalpha(Image.linear_gradient("L").resize(OPAQUE.size))


@pytest.mark.parametrize("lossless", [False, True])
@pytest.mark.parametrize("original", [OPAQUE, TRANSLUCENT], ids=["opaque", "translucent"])
def test_whole(original: Image.Image, *, lossless: bool) -> None:
    """Without a size, the pixels are those that Pillow decodes."""
    content = encoded(original, "WEBP", lossless=lossless)
    size, pixels = libwebp.decode(content)
    assert size == (90, 60)
    assert pixels == Image.open(io.BytesIO(content)).convert("RGBA").tobytes()


def test_scaled() -> None:
    """With a size, each pixel is about the mean of the pixels that it replaces."""
    content = encoded(OPAQUE, "WEBP", lossless=True)
    size, pixels = libwebp.decode(content, (31, 20))
    assert size == (31, 20)
    averaged = Image.frombytes("RGBA", size, bytes(pixels)).convert("RGB")
    # Pillow's filters weigh whole pixels only.
    mean = OPAQUE.resize((90 * 31, 60), Image.Resampling.NEAREST).reduce((90, 3))
    assert max(ImageStat.Stat(ImageChops.difference(averaged, mean)).mean) < 0.5


@pytest.mark.parametrize("cut", [0, 10, 40, -20])
def test_cut(cut: int) -> None:
    """A truncated file is refused."""
    with pytest.raises(MalformedImageError):
        libwebp.decode(encoded(OPAQUE, "WEBP")[:cut])
