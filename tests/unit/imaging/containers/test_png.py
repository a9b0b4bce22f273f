"""A PNG has all its scanlines, and an APNG all its frames."""

import struct
import zlib
from contextlib import nullcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from errors import TooManyPixelsError
from imaging.containers.content import MalformedImageError
from imaging.containers.limits import PixelLimits
from imaging.containers.png import Header, announced_frames, walk
from tests.support.containers import chunk, frame_control, png_file

GREY = b"\x08\0"
SIDES = st.integers(1, 40)


def limits() -> PixelLimits:
    """Return limits that the files of these tests do not exceed."""
    return PixelLimits(frame=100, animation=200_000)


def pixels(rows: int) -> bytes:
    """Return compressed scanlines of four grey pixels."""
    return zlib.compress(b"\0abcd" * rows)


def animation(*chunks: bytes, frames: int = 2) -> bytes:
    """Return an APNG of 4 x 3 pixels that announces this number of frames."""
    control = chunk(b"acTL", struct.pack(">II", frames, 0))
    first = frame_control(0, (4, 3)), chunk(b"IDAT", pixels(3))
    return png_file(control, *first, *chunks, width=4, height=3, form=GREY)


def second(number: int = 1, size: tuple[int, int] = (4, 3)) -> list[bytes]:
    """Return the chunks of a second frame."""
    content = struct.pack(">I", number + 1) + pixels(size[1])
    return [frame_control(number, size), chunk(b"fdAT", content)]


@given(SIDES, SIDES)
def test_interlaced(width: int, height: int) -> None:
    """The seven passes of an interlaced picture contain each pixel once."""
    header = Header(width, height, pixel_bits=8, needs_palette=False, interlaced=True)
    passes = header.passes(width, height)
    assert sum((stride - 1) * rows for stride, rows in passes) == width * height


@given(SIDES, SIDES, st.sampled_from([1, 2, 4, 8, 16, 24, 32, 48, 64]))
def test_scanlines(width: int, height: int, bits: int) -> None:
    """A scanline is a filter type and whole bytes, of which the last may be partly used."""
    header = Header(width, height, pixel_bits=bits, needs_palette=False, interlaced=False)
    ((stride, rows),) = header.passes(width, height)
    assert rows == height
    assert 0 <= 8 * (stride - 1) - width * bits < 8


@pytest.mark.parametrize(("kind", "needed"), [(b"tEXt", False), (b"IDAT", True)])
def test_damaged_chunk(kind: bytes, *, needed: bool) -> None:
    """A wrong CRC is refused in a chunk that the picture needs, and ignored in others."""
    damaged = chunk(kind, pixels(3))[:-4] + b"\1\2\3\4"
    content = png_file(chunk(b"IDAT", pixels(3)), damaged, width=4, height=3, form=GREY)
    with pytest.raises(MalformedImageError, match="wrong CRC") if needed else nullcontext():
        walk(content, limits())


def test_animation() -> None:
    """Each frame has its number and its pixels."""
    whole = animation(*second())
    assert announced_frames(whole) == 2
    assert walk(whole, limits()).shown == (4, 3)


@pytest.mark.parametrize(
    ("chunks", "reason"),
    [
        ([], "too few frames"),
        (second()[:1], "too few frames"),
        (second(2), "out of order"),
        (second(size=(5, 3)), "outside"),
        ([frame_control(1, (4, 3)), frame_control(2, (4, 3))], "has no pixels"),
        ([frame_control(1, (4, 3), dispose=3)], "unknown operation"),
    ],
)
def test_wrong_animation(chunks: list[bytes], reason: str) -> None:
    """Frames that are missing, misplaced or outside the picture are refused."""
    with pytest.raises(MalformedImageError, match=reason):
        walk(animation(*chunks), limits())


def test_short_frame_control() -> None:
    """A frame control chunk without its last byte is refused, even if its CRC would pass for it."""
    controls = (
        chunk(b"fcTL", struct.pack(">IIIIIHHB", 1, 4, 3, 0, 0, 1, delay, 0))
        for delay in range(10_000)
    )
    short = next(control for control in controls if control[-4] <= 1)
    with pytest.raises(MalformedImageError, match="shorter than the standard"):
        walk(animation(short, second()[1]), limits())


def test_many_frames() -> None:
    """Frames count against the limit for animations, however small they are."""
    frames = [piece for number in range(1, 9, 2) for piece in second(number)]
    with pytest.raises(TooManyPixelsError, match="All frames"):
        walk(animation(*frames, frames=5), limits())
