"""Variants are made in separate processes, and fail for files that cannot be rendered."""

import io
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import IO

import pytest
from PIL import Image

from config import VariantSpec
from errors import VariantNotFoundError
from imaging.decoding.variant_maker import VariantMaker
from tests.support.pictures import encoded

BOX = VariantSpec(32, 32)
CONTENT = encoded(Image.new("RGB", (64, 48)), "PNG")


@contextmanager
def stored(content: bytes) -> Iterator[IO[bytes]]:
    """Yield a file with this content."""
    with tempfile.TemporaryFile() as file:
        file.write(content)
        file.flush()
        yield file


def variant_maker(max_pixels: int = 64 * 48) -> VariantMaker:
    """Return a maker of variants of pictures with at most `max_pixels` pixels."""
    return VariantMaker(max_pixels=max_pixels, max_animation_pixels=10**6, cpu_seconds=60)


@pytest.fixture
def maker() -> Iterator[VariantMaker]:
    """Return a maker of variants."""
    with closing(variant_maker()) as maker:
        yield maker


def test_made(maker: VariantMaker) -> None:
    """A variant has its size and format, and the original file is not changed."""
    with stored(CONTENT) as file:
        for encoding, image_format in (("png", "PNG"), ("webp", "WEBP")):
            made = maker.make(file, "png", 64 * 48, BOX, encoding)
            with Image.open(io.BytesIO(made.content)) as picture:
                assert (made.width, made.height) == picture.size == (32, 24)
                assert picture.format == image_format
        file.seek(0)
        assert file.read() == CONTENT


def test_too_large() -> None:
    """A picture with more than MAX_PIXELS, accepted under another setting, has no variants."""
    with (
        closing(variant_maker(max_pixels=64 * 48 - 1)) as maker,
        stored(CONTENT) as file,
        pytest.raises(VariantNotFoundError, match="too many pixels"),
    ):
        maker.make(file, "png", 64 * 48, BOX, "png")


def test_no_picture(maker: VariantMaker) -> None:
    """A file that cannot be decoded has no variants."""
    with stored(CONTENT[:60]) as file, pytest.raises(VariantNotFoundError):
        maker.make(file, "png", 64 * 48, BOX, "png")
