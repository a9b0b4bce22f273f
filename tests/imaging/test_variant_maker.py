"""Variants are made in separate processes, within bounds that suffice for accepted pictures."""

import tempfile
from collections.abc import Iterator
from contextlib import closing

import pytest
from PIL import Image

from config import VariantSpec
from errors import VariantNotFoundError
from imaging.decoding.variant_maker import VariantMaker
from tests.support.pictures import encoded

MAX_PIXELS = 51_000_000


def variant_maker(max_pixels: int = MAX_PIXELS) -> VariantMaker:
    """Return a maker of variants of pictures with at most `max_pixels` pixels."""
    return VariantMaker(max_pixels=max_pixels, max_animation_pixels=4 * MAX_PIXELS, cpu_seconds=60)


@pytest.fixture
def maker() -> Iterator[VariantMaker]:
    """Return a maker of variants of pictures with at most MAX_PIXELS pixels."""
    with closing(variant_maker()) as maker:
        yield maker


@pytest.mark.parametrize(
    ("image_format", "mode", "options"),
    [
        ("JPEG", "RGB", {"progressive": True}),
        ("PNG", "RGBA", {}),
        ("GIF", "P", {}),
        ("WEBP", "RGBA", {"lossless": True, "method": 0}),
    ],
    ids=["progressive JPEG", "PNG", "GIF", "WebP"],
)
def test_large(maker: VariantMaker, image_format: str, mode: str, options: dict[str, bool]) -> None:
    """A picture of MAX_PIXELS has variants, even if its decoder needs much memory."""
    content = encoded(Image.new(mode, (8000, 6250), 1), image_format, **options)
    with tempfile.TemporaryFile() as file:
        file.write(content)
        file.flush()
        made = maker.make(file, image_format.lower(), 8000 * 6250, VariantSpec(320, 320), "png")
    assert (made.width, made.height) == (320, 250)


@pytest.mark.parametrize("encoding", ["jpg", "png", "webp", "avif"])
@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA"])
def test_transparent(maker: VariantMaker, mode: str, encoding: str) -> None:
    """A transparent picture has variants in every format, whose encoders need much memory."""
    logo = Image.new("L", (2000, 2000), 99)
    logo.putalpha(Image.linear_gradient("L").resize(logo.size))
    with tempfile.TemporaryFile() as file:
        picture = logo.convert("RGBA").quantize() if mode == "PA" else logo.convert(mode)
        file.write(encoded(picture, "PNG"))
        file.flush()
        made = maker.make(file, "png", 2000 * 2000, VariantSpec(2048, 2048), encoding)
    assert (made.width, made.height) == (2000, 2000)


def test_too_large() -> None:
    """A picture with more than MAX_PIXELS, accepted under another setting, has no variants."""
    with closing(variant_maker(max_pixels=64 * 63)) as maker, tempfile.TemporaryFile() as file:
        file.write(encoded(Image.new("RGB", (64, 64)), "PNG"))
        file.flush()
        with pytest.raises(VariantNotFoundError, match="too many pixels"):
            maker.make(file, "png", 64 * 64, VariantSpec(320, 320), "png")


def test_no_picture(maker: VariantMaker) -> None:
    """A file that cannot be decoded has no variants."""
    with tempfile.TemporaryFile() as file:
        file.write(encoded(Image.new("RGB", (64, 64)), "PNG")[:60])
        file.flush()
        with pytest.raises(VariantNotFoundError):
            maker.make(file, "png", 64 * 64, VariantSpec(320, 320), "png")
