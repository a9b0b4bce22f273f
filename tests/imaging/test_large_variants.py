"""Pictures whose decoders and encoders need much memory have variants."""

import tempfile
from collections.abc import Iterator
from contextlib import closing

import pytest
from PIL import Image

from config import VariantSpec
from imaging.decoding.variant_maker import VariantMaker
from tests.support.pictures import encoded


@pytest.fixture
def maker() -> Iterator[VariantMaker]:
    """Return a maker of variants with the default limits on pixels."""
    with closing(
        VariantMaker(max_pixels=51_000_000, max_animation_pixels=204_000_000, cpu_seconds=60)
    ) as maker:
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
    """A picture of 50 megapixels has variants, even if its decoder needs much memory."""
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
