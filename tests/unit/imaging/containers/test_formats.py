"""Walkers of all formats accept whole files, and refuse all others with one error."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from errors import TooManyPixelsError
from imaging.containers.content import MalformedImageError
from imaging.containers.formats import SIGNATURE_BYTES, format_of, walk
from imaging.containers.limits import PixelLimits
from tests.support import pictures

FILES = {
    "jpeg": pictures.jpeg(24, 16),
    "png": pictures.png(24, 16),
    "gif": pictures.gif(24, 16),
    "webp": pictures.webp(24, 16),
}
each_format = pytest.mark.parametrize("image_format", FILES)


def limits() -> PixelLimits:
    """Return limits that no file exceeds."""
    return PixelLimits(frame=1000, animation=200_000)


@each_format
def test_signature(image_format: str) -> None:
    """The first bytes of a file identify its format."""
    assert format_of(FILES[image_format][:SIGNATURE_BYTES]) == image_format
    assert format_of(b"\0" + FILES[image_format]) is None


@each_format
def test_whole(image_format: str) -> None:
    """A whole file has its size; bytes after its end do not matter."""
    for tail in (b"", bytes(100), FILES["png"]):
        assert walk(FILES[image_format] + tail, image_format, limits()).shown == (24, 16)


@each_format
def test_cut(image_format: str) -> None:
    """A truncated file is refused, except a GIF that lacks only its last byte, as in browsers."""
    whole = FILES[image_format]
    for length in range(len(whole) - (image_format == "gif")):
        with pytest.raises(MalformedImageError):
            walk(whole[:length], image_format, limits())


@given(st.sampled_from(list(FILES)), st.data())
def test_damaged(image_format: str, data: st.DataObject) -> None:
    """Damage is either harmless or refused, and never breaks a limit."""
    content = bytearray(FILES[image_format])
    places = st.integers(0, len(content) - 1)
    for at, value in data.draw(st.dictionaries(places, st.integers(0, 255), max_size=6)).items():
        content[at] = value
    with suppress(MalformedImageError, TooManyPixelsError):
        outline = walk(bytes(content), image_format, limits())
        assert 1 <= outline.width * outline.height <= 1000
        assert outline.decoded_bytes > 0


@each_format
def test_too_many_pixels(image_format: str) -> None:
    """A file that announces too many pixels is refused before a decoder sees it."""
    with pytest.raises(TooManyPixelsError):
        walk(FILES[image_format], image_format, PixelLimits(frame=383, animation=10**6))
