"""The first picture of a PNG, with its colours and its place on the canvas."""

import io
import struct
import zlib

import pytest
from PIL import Image

from imaging.containers.content import MalformedImageError
from imaging.stills.png import still
from imaging.stills.still import ColourSpace
from tests.support import pictures
from tests.support.containers import chunk, exif, frame_control, png_file
from tests.support.icc_profiles import ADOBE_RGB

GREY, RGB, PALETTE = b"\x08\0", b"\x08\2", b"\x08\3"
ICC = ADOBE_RGB.profile()
DATA = chunk(b"IDAT", zlib.compress(bytes(100)))


def colours(*chunks: bytes) -> ColourSpace:
    """Return the colour space of a picture with these chunks before its pixels."""
    return still(png_file(*chunks, DATA, form=RGB)).colours


def minimal(content: bytes) -> Image.Image:
    """Return the picture in the minimal file."""
    with still(content).open() as file:
        return Image.open(io.BytesIO(file.read()))


def test_pixels() -> None:
    """The minimal file has the same pixels, and no text."""
    whole = pictures.png(24, 16)
    noted = whole[:33] + chunk(b"tEXt", b"Comment\0here") + whole[33:]
    assert minimal(noted).tobytes() == Image.open(io.BytesIO(whole)).tobytes()
    assert "Comment" not in minimal(noted).info


@pytest.mark.parametrize(
    ("chunks", "expected"),
    [
        ([], ColourSpace()),
        ([chunk(b"sRGB", b"\0")], ColourSpace(is_srgb=True)),
        ([chunk(b"gAMA", struct.pack(">I", 45455))], ColourSpace(gamma=0.45455)),
        ([chunk(b"gAMA", bytes(4))], ColourSpace()),
        ([chunk(b"cICP", b"\x0c\x0d\0\1")], ColourSpace(cicp=(12, 13))),
        ([chunk(b"cICP", b"\x0c\x0d\0\0")], ColourSpace()),
        (
            [chunk(b"cHRM", struct.pack(">8I", *range(0, 800_000, 100_000)))],
            ColourSpace(chromaticities=(0, 1, 2, 3, 4, 5, 6, 7)),
        ),
        ([chunk(b"iCCP", b"p\0\0" + zlib.compress(ICC))], ColourSpace(icc=ICC)),
        ([chunk(b"iCCP", b"p\0\0" + zlib.compress(ICC)[:-1])], ColourSpace()),
    ],
    ids=["none", "sRGB", "gAMA", "gAMA of 0", "cICP", "narrow cICP", "cHRM", "iCCP", "cut iCCP"],
)
def test_colours(chunks: list[bytes], expected: ColourSpace) -> None:
    """Chunks before the pixels define the colours; malformed ones are ignored."""
    assert colours(*chunks) == expected


@pytest.mark.parametrize(
    ("form", "transparency", "key"),
    [
        (GREY, b"\0\x11", (0x11,)),
        (b"\1\0", b"\0\1", (255,)),
        (b"\4\0", b"\0\x08", (0x88,)),
        (b"\x10\0", b"\x12\x34", (0x1234,)),
        (RGB, b"\0\1\0\2\0\3", (1, 2, 3)),
        (RGB, b"\0\1", None),
        (GREY, b"", None),
    ],
)
def test_colour_key(form: bytes, transparency: bytes, key: tuple[int, ...] | None) -> None:
    """The transparent colour has the depth of the samples that decoders return."""
    before = [chunk(b"tRNS", transparency)] if transparency else []
    assert still(png_file(*before, DATA, form=form)).colour_key == key


def test_short_palette() -> None:
    """Indexes beyond the palette have its last colour, as in browsers."""
    row = chunk(b"IDAT", zlib.compress(b"\0\0\1\2\xff"))
    table = chunk(b"PLTE", b"\1\1\1\2\2\2")
    picture = minimal(png_file(table, row, width=4, form=PALETTE)).convert("RGB")
    assert picture.tobytes() == b"\1\1\1" + b"\2\2\2" * 3


def test_first_frame() -> None:
    """The first frame of an animation has its place on the canvas, without the default image."""
    content = png_file(
        chunk(b"acTL", struct.pack(">II", 1, 0)),
        DATA,
        frame_control(0, (2, 1), at=(1, 2)),
        chunk(b"fdAT", struct.pack(">I", 1) + zlib.compress(b"\0\x77\x88")),
        width=4,
        height=3,
        form=GREY,
    )
    found = still(content)
    assert (found.canvas, found.place) == ((4, 3), (1, 2))
    assert (minimal(content).size, minimal(content).tobytes()) == ((2, 1), b"\x77\x88")


def test_orientation() -> None:
    """Exif counts only before the pixels."""
    turned = chunk(b"eXIf", exif(6))
    assert still(png_file(turned, DATA, form=RGB)).orientation == 6
    assert still(png_file(DATA, turned, form=RGB)).orientation == 1


def test_no_pixels() -> None:
    """A file without pixels has no first picture."""
    with pytest.raises(MalformedImageError):
        still(png_file(form=RGB))
