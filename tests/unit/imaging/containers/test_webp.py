"""A WebP is one bitstream, or an animation on a canvas."""

import struct

import pytest

from imaging.containers.content import MalformedImageError
from imaging.containers.limits import PixelLimits
from imaging.containers.webp import walk
from tests.support import pictures
from tests.support.containers import riff, uint24, webp_animation, webp_file, webp_frame

LOSSY = pictures.webp(24, 16)
LOSSLESS = pictures.encoded(pictures.picture(24, 16), "WEBP", lossless=True)
BITSTREAM = LOSSLESS[12:]


def limits() -> PixelLimits:
    """Return limits that the files of these tests do not exceed."""
    return PixelLimits(frame=1000, animation=200_000)


def extended(width: int, height: int, flags: int = 0) -> bytes:
    """Return a VP8X chunk for a canvas of that size."""
    return riff(b"VP8X", struct.pack("<I", flags) + uint24(width - 1) + uint24(height - 1))


@pytest.mark.parametrize(("content", "lossless"), [(LOSSY, False), (LOSSLESS, True)])
def test_still(content: bytes, *, lossless: bool) -> None:
    """The size of a still picture is that of its bitstream."""
    outline = walk(content, limits())
    (frame,) = outline.frames
    assert (frame.width, frame.height) == outline.shown == (24, 16)
    assert frame.lossless is lossless
    assert content[frame.start : frame.end] in content[12:]


def test_alpha() -> None:
    """The alpha of a lossy frame belongs to its bitstream."""
    transparent = pictures.picture(24, 16).convert("RGBA").rotate(20)
    content = pictures.encoded(transparent, "WEBP")
    (frame,) = walk(content, limits()).frames
    assert content[frame.start :].startswith(b"ALPH")


def test_animation() -> None:
    """The frames of an animation lie on its canvas."""
    content = webp_animation(40, 30, webp_frame(BITSTREAM, 24, 16, at=(16, 14)))
    outline = walk(content, PixelLimits(frame=1200, animation=200_000))
    assert outline.shown == (40, 30)
    assert [(frame.width, frame.height) for frame in outline.frames] == [(24, 16)]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (webp_file(), "no frame"),
        (webp_file(riff(b"EXIF", b"")), "does not begin"),
        (webp_file(extended(25, 16), BITSTREAM), "fill its canvas"),
        (webp_file(riff(b"VP8 ", bytes(10))), "as VP8 does"),
        (webp_file(riff(b"VP8L", bytes(10))), "as VP8L does"),
        (webp_animation(24, 16), "no frame"),
        (webp_animation(24, 16, webp_frame(BITSTREAM, 24, 16, at=(2, 0))), "outside the canvas"),
        (webp_animation(24, 16, webp_frame(BITSTREAM, 23, 16)), "another size"),
    ],
)
def test_refused(content: bytes, reason: str) -> None:
    """Frames that are missing, misplaced or of another size than announced are refused."""
    with pytest.raises(MalformedImageError, match=reason):
        walk(content, limits())
