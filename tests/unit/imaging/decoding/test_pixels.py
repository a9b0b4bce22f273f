"""Every pixel of a file is decoded, so that missing data is detected."""

import mmap
import zlib
from collections.abc import Callable

import pytest

from imaging.containers.content import MalformedImageError
from imaging.containers.formats import walk
from imaging.containers.limits import PixelLimits
from imaging.containers.outline import Outline
from imaging.decoding.pixels import decode
from tests.support import pictures
from tests.support.containers import chunk, gif_file, gif_frame, png_file, riff, webp_file

GREY = b"\x08\0"


def examine(content: bytes, image_format: str) -> None:
    """Walk a file and decode its pixels."""
    outline = walk(content, image_format, PixelLimits(frame=10_000, animation=100_000))
    mapped = mmap.mmap(-1, len(content))
    mapped.write(content)
    decode(mapped, outline)


@pytest.mark.parametrize(
    ("make", "image_format"),
    [
        (pictures.jpeg, "jpeg"),
        (pictures.png, "png"),
        (lambda: pictures.gif(frames=2), "gif"),
        (pictures.webp, "webp"),
    ],
    ids=["JPEG", "PNG", "GIF", "WebP"],
)
def test_whole(make: Callable[[], bytes], image_format: str) -> None:
    """A whole file is decoded without an error."""
    examine(make(), image_format)


def _jpeg_without_its_last_rows() -> bytes:
    return pictures.jpeg()[:-100] + b"\xff\xd9"


def _gif_without_pixels() -> bytes:
    return gif_file(gif_frame(8, 8), width=8, height=8)


def _webp_without_its_last_rows() -> bytes:
    return webp_file(riff(b"VP8 ", pictures.webp()[20:-100]))


@pytest.mark.parametrize(
    ("make", "image_format"),
    [
        (_jpeg_without_its_last_rows, "jpeg"),
        (_gif_without_pixels, "gif"),
        (_webp_without_its_last_rows, "webp"),
    ],
    ids=["JPEG", "GIF", "WebP"],
)
def test_missing_pixels(make: Callable[[], bytes], image_format: str) -> None:
    """A file with a whole container but incomplete pixels is refused."""
    with pytest.raises(MalformedImageError):
        examine(make(), image_format)


@pytest.mark.parametrize(
    "compressed",
    [
        zlib.compress(b"\0abcd" * 2),
        zlib.compress(b"\0abcd" * 3)[:-1],
        zlib.compress(b"\0abcd" * 2 + b"\5abcd"),
        b"nonsense",
    ],
    ids=["too few rows", "cut", "unknown filter", "not deflated"],
)
def test_scanlines(compressed: bytes) -> None:
    """A PNG that lacks a scanline is refused, although none is kept."""
    content = png_file(chunk(b"IDAT", compressed), width=4, height=3, form=GREY)
    with pytest.raises(MalformedImageError):
        examine(content, "png")


def test_format_without_a_decoder() -> None:
    """A file whose format has no decoder is refused instead of passing undecoded."""
    with pytest.raises(MalformedImageError, match="no decoder"):
        decode(mmap.mmap(-1, 1), Outline(width=1, height=1, orientation=1))
