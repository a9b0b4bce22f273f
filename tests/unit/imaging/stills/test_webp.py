"""The first frame of a WebP, with its profile and its place on the canvas."""

import io
import struct

import pytest
from PIL import Image

from imaging.containers.content import MalformedImageError
from imaging.stills.webp import still
from tests.support import pictures
from tests.support.containers import riff, uint24, webp_animation, webp_file, webp_frame
from tests.support.icc_profiles import ADOBE_RGB

PROFILE, OPACITY = 0x20, 0x10
PLAIN = pictures.encoded(pictures.picture(24, 16), "WEBP", lossless=True)
BITSTREAM = PLAIN[12:]
ICC = ADOBE_RGB.profile()


def minimal(content: bytes) -> Image.Image:
    """Return the picture in the minimal file."""
    with still(content).open() as file:
        return Image.open(io.BytesIO(file.read()))


def extended(flags: int, *chunks: bytes) -> bytes:
    """Return a file whose header has these flags, followed by the chunks."""
    size = uint24(23) + uint24(15)
    return webp_file(riff(b"VP8X", struct.pack("<I", flags) + size), *chunks)


@pytest.mark.parametrize(
    "content",
    [PLAIN, pictures.webp(24, 16), extended(0, BITSTREAM, riff(b"EXIF", b"somebody"))],
    ids=["lossless", "lossy", "extended"],
)
def test_pixels(content: bytes) -> None:
    """The minimal file has the same pixels, and no metadata."""
    with Image.open(io.BytesIO(content)) as whole:
        assert minimal(content).convert("RGB").tobytes() == whole.convert("RGB").tobytes()
    assert "exif" not in minimal(content).info


@pytest.mark.parametrize(("flags", "icc"), [(PROFILE, ICC), (0, b"")])
def test_profile(flags: int, icc: bytes) -> None:
    """A profile counts if the header announces it."""
    content = extended(flags, riff(b"ICCP", ICC), BITSTREAM)
    assert still(content).colours.icc == icc


def test_animation() -> None:
    """The first frame of an animation has its place on the canvas."""
    frames = webp_frame(BITSTREAM, 24, 16, at=(6, 8)), webp_frame(BITSTREAM, 24, 16)
    found = still(webp_animation(40, 30, *frames))
    assert (found.canvas, found.place) == ((40, 30), (6, 8))
    assert minimal(webp_animation(40, 30, *frames)).size == (24, 16)


SEE_THROUGH = pictures.encoded(Image.new("RGBA", (24, 16), (9, 9, 9, 9)), "WEBP", lossless=True)
ALPHA = riff(b"ALPH", b"\0" + bytes(24 * 16))
LOSSY = pictures.webp(24, 16)[12:]


@pytest.mark.parametrize(
    ("content", "is_opaque"),
    [
        (PLAIN, True),
        (SEE_THROUGH, False),
        (pictures.webp(24, 16), True),
        (extended(0, SEE_THROUGH[12:]), True),
        (extended(OPACITY, PLAIN[12:]), False),
        (extended(OPACITY, LOSSY), True),
        (extended(OPACITY, ALPHA, LOSSY), False),
        (extended(0, ALPHA, LOSSY), True),
        (webp_animation(24, 16, webp_frame(BITSTREAM, 24, 16)), True),
        (webp_animation(40, 30, webp_frame(BITSTREAM, 24, 16)), False),
    ],
    ids=[
        "lossless",
        "transparent",
        "lossy",
        "unannounced",
        "announced",
        "announced without alpha",
        "alpha",
        "unannounced alpha",
        "animation",
        "small frame",
    ],
)
def test_opaque(content: bytes, *, is_opaque: bool) -> None:
    """Only a picture without transparency that fills its canvas is opaque, and may be averaged."""
    found = still(content)
    assert (found.is_opaque, found.scales) == (is_opaque, is_opaque)


def test_no_frame() -> None:
    """A file without a frame has no first picture."""
    with pytest.raises(MalformedImageError):
        still(webp_animation(40, 30))
