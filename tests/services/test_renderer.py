"""Variants are made in processes of their own, within bounds that every accepted picture fits."""

import tempfile
from collections.abc import Iterator

import pytest
from PIL import Image

from config import Settings, VariantSpec
from errors import VariantNotFoundError
from services.variants.renderer import Renderer
from tests.support.pictures import encoded


@pytest.fixture
def renderer() -> Iterator[Renderer]:
    """Return a renderer with the default settings."""
    settings = Settings(db_url="sqlite:///none", aws_region="none", aws_s3_bucket="none")
    renderer = Renderer(settings)
    yield renderer
    renderer.close()


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
def test_large(renderer: Renderer, image_format: str, mode: str, options: dict[str, bool]) -> None:
    """Of a picture of MAX_PIXELS there are variants, whatever memory its decoder wants."""
    content = encoded(Image.new(mode, (8000, 6250), 1), image_format, **options)
    extension = image_format.lower().replace("jpeg", "jpg")
    with tempfile.TemporaryFile() as file:
        file.write(content)
        file.flush()
        made = renderer.render(file, extension, VariantSpec(320, 320), "png")
    assert (made.width, made.height) == (320, 250)


def test_too_large() -> None:
    """Of a picture of more than MAX_PIXELS, accepted under another setting, there are none."""
    settings = Settings(
        db_url="sqlite:///none", aws_region="none", aws_s3_bucket="none", max_pixels=64 * 63
    )
    renderer = Renderer(settings)
    with tempfile.TemporaryFile() as file:
        file.write(encoded(Image.new("RGB", (64, 64)), "PNG"))
        file.flush()
        with pytest.raises(VariantNotFoundError, match="too many pixels"):
            renderer.render(file, "png", VariantSpec(320, 320), "png")
    renderer.close()


def test_no_picture(renderer: Renderer) -> None:
    """Of what cannot be decoded there are none."""
    with tempfile.TemporaryFile() as file:
        file.write(encoded(Image.new("RGB", (64, 64)), "PNG")[:60])
        file.flush()
        with pytest.raises(VariantNotFoundError):
            renderer.render(file, "png", VariantSpec(320, 320), "png")
