"""Which chunks besides the pixels of a PNG count."""

import zlib

from imaging.containers.png_ancillary import counting_chunks, read_profile
from tests.support.containers import chunk, png_file, zeros
from tests.support.icc_profiles import ADOBE_RGB

_ICC = ADOBE_RGB.profile()
_DEFLATED = zlib.compress(_ICC)
_GAMMA, _OTHER, _BROKEN = b"\0\0\0\1", b"\0\0\0\2", b"\0\0\0\3"


def test_first_intact_chunk() -> None:
    """The first chunk with a correct CRC before the pixels counts."""
    broken = chunk(b"gAMA", _BROKEN)[:-1] + b"?"
    before = broken, chunk(b"gAMA", _GAMMA), chunk(b"gAMA", _OTHER)
    content = png_file(*before, chunk(b"IDAT", zeros(2)), chunk(b"pHYs", bytes(9)))
    found = counting_chunks(content, {b"gAMA", b"pHYs"})
    assert {kind: content[at : at + length] for kind, (at, length) in found.items()} == {
        b"gAMA": _GAMMA
    }


def test_profile() -> None:
    """A profile is returned with its compressed bytes, without the bytes after them."""
    assert read_profile(b"name\0\0" + _DEFLATED + b"behind") == (_ICC, _DEFLATED)


def test_no_profile() -> None:
    """A profile without a name, with another method, truncated or not a profile is ignored."""
    cut, text = _DEFLATED[:-1], zlib.compress(b"text")
    for name, data in [(b"", _DEFLATED), (b"a" * 80, _DEFLATED), (b"a", cut), (b"a", text)]:
        assert read_profile(name + b"\0\0" + data) == (b"", b"")
    assert read_profile(b"a\0\1" + _DEFLATED) == (b"", b"")
