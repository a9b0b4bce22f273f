"""What remains of PNG files."""

import io
import random
import struct
import zlib

import pytest

from imaging.containers.content import MalformedImageError
from imaging.stripping.formats import strip
from tests.support import pictures
from tests.support.containers import chunk, exif, frame_control, png_file, zeros
from tests.support.icc_profiles import ADOBE_RGB
from tests.support.stripping import outline, stripped
from tests.support.taken_apart import png_chunks

_PNG = pictures.png()
_PROFILE = ADOBE_RGB.profile()


def _with(*chunks: bytes) -> bytes:
    return _PNG[:33] + b"".join(chunks) + _PNG[33:]


def test_needed_chunks() -> None:
    """The chunks of a PNG that colours and resolution need stay as they are."""
    compressed = b"ICC Profile\0\0" + zlib.compress(_PROFILE)
    needed = [
        chunk(b"cICP", bytes([12, 13, 0, 1])),
        chunk(b"gAMA", struct.pack(">I", 45455)),
        chunk(b"cHRM", struct.pack(">8I", 31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000)),
        chunk(b"sRGB", b"\0"),
        chunk(b"iCCP", compressed),
        chunk(b"mDCV", bytes(range(24))),
        chunk(b"cLLI", bytes(range(8))),
        chunk(b"sBIT", b"\5\6\5"),
        chunk(b"bKGD", bytes(6)),
        chunk(b"tRNS", bytes(6)),
        chunk(b"pHYs", struct.pack(">IIB", 3000, 3000, 1)),
        chunk(b"eXIf", exif(6)),
    ]
    content = _with(*needed)
    assert stripped(content, "png") == content


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("order", "<>")
def test_orientation(orientation: int, order: str) -> None:
    """Only the orientation remains of Exif, unless the picture is upright."""
    alone = [chunk(b"eXIf", exif(orientation, order))] if orientation > 1 else []
    content = _with(chunk(b"eXIf", exif(orientation, order) + b"camera"))
    assert stripped(content, "png") == _with(*alone)


def test_names_of_profiles() -> None:
    """The name of a PNG's profile, which is free text, gives way to that of most writers."""
    compressed = b"\0\0" + zlib.compress(_PROFILE)
    for name, expected in [
        (b"My house", b"ICC Prof"),
        (b"abcd", b"ICC"),
        (b"x" * 79, b"ICC Profile"),
        (b"ICC Profile", b"ICC Profile"),
    ]:
        content = _with(chunk(b"iCCP", name + compressed))
        assert png_chunks(stripped(content, "png"))[1] == (b"iCCP", expected + compressed)


def test_large_profile() -> None:
    """A profile of which only the name changes is stored once, however large it is."""
    profile = zlib.compress(_PROFILE + random.Random(1).randbytes(1_000_000))
    content = _with(chunk(b"iCCP", b"My house\0\0" + profile), chunk(b"tEXt", b"a\0b"))
    expected = _with(chunk(b"iCCP", b"ICC Prof\0\0" + profile))
    assert stripped(content, "png") == expected


def test_needless_animation() -> None:
    """An animation of no frames and frames that are not announced go."""
    none = _with(chunk(b"acTL", bytes(8)))
    assert stripped(none, "png") == _PNG
    first = chunk(b"acTL", struct.pack(">II", 1, 0)), frame_control(0, (1, 1))
    more = frame_control(1, (1, 1)), chunk(b"fdAT", struct.pack(">I", 2) + zeros(2))
    content = png_file(*first, chunk(b"IDAT", zeros(2)), *more)
    assert stripped(content, "png") == png_file(*first, chunk(b"IDAT", zeros(2)))


def test_broken_pixels() -> None:
    """A PNG whose pixels cannot be inflated is refused and stays as it is."""
    content = png_file(chunk(b"IDAT", zeros(2)[:-4]), chunk(b"tEXt", b"a\0b"))
    file = io.BytesIO(content)
    with pytest.raises(MalformedImageError, match="cut short"):
        strip(content, outline(content, "png"), file)
    assert file.getvalue() == content
