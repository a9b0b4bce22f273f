"""The compressed pixels of a PNG are inflated to their end, which shows what follows them."""

import struct

import pytest

from imaging.containers.content import MalformedImageError
from imaging.containers.png_pixels import inflate
from tests.support.containers import chunk, frame_control, png_file, zeros

_PIXELS = zeros(2)


def _surplus(*chunks: bytes) -> list[bytes]:
    content = png_file(*chunks)
    return [content[start:end] for start, end in inflate(content)]


def test_no_surplus() -> None:
    """Nothing follows compressed pixels that fill their chunks, whatever their number."""
    halves = chunk(b"IDAT", _PIXELS[:4]), chunk(b"IDAT", _PIXELS[4:])
    assert _surplus(*halves) == []


def test_surplus() -> None:
    """Bytes after the pixels of each frame are found, even across several chunks."""
    control = chunk(b"acTL", struct.pack(">II", 2, 0)), frame_control(0, (1, 1))
    first = chunk(b"IDAT", _PIXELS + b"one"), chunk(b"IDAT", b"two")
    second = frame_control(1, (1, 1)), chunk(b"fdAT", struct.pack(">I", 2) + _PIXELS + b"three")
    behind_first, behind_second = _surplus(*control, *first, *second)
    assert behind_first.startswith(b"one")
    assert behind_first.endswith(b"two")
    assert behind_second == b"three"


def test_more_pixels_than_rows() -> None:
    """Pixels that no row needs are not inflated, so what follows them is unknown."""
    assert _surplus(chunk(b"IDAT", zeros(2**20) + b"behind")) == []


def test_too_few() -> None:
    """Pixels without their end are refused."""
    with pytest.raises(MalformedImageError, match="cut short"):
        _surplus(chunk(b"IDAT", _PIXELS[:-4]))
