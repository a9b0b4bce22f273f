"""Metadata cannot prevent a variant, because decoders get only what the pixels need."""

import io
import zlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from config import VariantSpec
from imaging.rendering.picture import render_picture
from imaging.stills.still import open_pieces
from tests.support.containers import chunk, segment
from tests.support.inspections import inspecting, verdict
from tests.support.pictures import encoded

_PICTURE = Image.new("RGB", (40, 30), (200, 60, 30))
_PNG, _JPEG = encoded(_PICTURE, "PNG"), encoded(_PICTURE, "JPEG", quality=100)
_BARE_JPEG = _JPEG[:2] + _JPEG[4 + int.from_bytes(_JPEG[4:6], "big") :]
_LONG = bytes(number * 7 % 95 + 32 for number in range(1200)) * 1000
_DEFLATED = zlib.compress(_LONG)

CHUNKS = {
    "long text": chunk(b"tEXt", b"workflow\0" + _LONG),
    "compressed text": chunk(b"zTXt", b"workflow\0\0" + _DEFLATED),
    "international text": chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + _DEFLATED),
    "text of an unknown method": chunk(b"zTXt", b"a\0\7" + zlib.compress(b"x")),
    "long profile": chunk(b"iCCP", b"p\0\0" + _DEFLATED),
    "profile of an unknown method": chunk(b"iCCP", b"p\0\7" + zlib.compress(b"x")),
    "profile without a name": chunk(b"iCCP", b""),
    "profile that cannot be inflated": chunk(b"iCCP", b"p\0\0nonsense"),
    "short gAMA": chunk(b"gAMA", b"\0\0"),
    "gAMA of zero": chunk(b"gAMA", bytes(4)),
    "largest gAMA": chunk(b"gAMA", b"\xff" * 4),
    "smallest gAMA": chunk(b"gAMA", b"\0\0\0\1"),
    "short cHRM": chunk(b"cHRM", bytes(5)),
    "cHRM of zeros": chunk(b"gAMA", b"\0\0\xb1\x8f") + chunk(b"cHRM", bytes(32)),
    "empty sRGB": chunk(b"sRGB", b""),
    "short pHYs": chunk(b"pHYs", bytes(3)),
    "short tRNS": chunk(b"tRNS", bytes(3)),
    "short cICP": chunk(b"cICP", b"\1"),
    "short bKGD": chunk(b"bKGD", b""),
    "short eXIf": chunk(b"eXIf", b"II"),
    "short tIME": chunk(b"tIME", b""),
    "short acTL of no frames": chunk(b"acTL", bytes(8)),
}
SEGMENTS = {
    "JFIF of 5 bytes": segment(0xE0, b"JFIF\0"),
    "JFIF that promises a thumbnail": segment(0xE0, b"JFIF\0\1\1\0\0\1\0\1\xff\xff"),
    "Adobe of 5 bytes": segment(0xEE, b"Adobe"),
    "profile without a number": segment(0xE2, b"ICC_PROFILE\0"),
    "profile with a part missing": segment(0xE2, b"ICC_PROFILE\0\1\2" + bytes(200)),
    "broken Exif": segment(0xE1, b"Exif\0\0II*\0\xff\xff\xff\xff"),
    "broken Photoshop resources": segment(0xED, b"Photoshop 3.0\x008BIM\4\4\0\0\xff\xff\xff\xff"),
    "broken MPF": segment(0xE2, b"MPF\0II*\0\xff\xff\xff\xff"),
    "a marker without a length": b"\xff\x01",
    "restart markers": b"\xff\xd0\xff\xd7",
}


def _require_variant(content: bytes, extension: str) -> None:
    """Check that a file is accepted and has a variant."""
    with inspecting(inspection="header") as inspector:
        assert verdict(inspector, content, extension).verdict == "accepted"
    output = io.BytesIO()
    image_format = {"jpg": "jpeg"}.get(extension, extension)
    assert render_picture(content, image_format, VariantSpec(32, 32), "png", output) == (32, 24)


def _with_chunk(name: str) -> bytes:
    return _PNG[:33] + CHUNKS[name] + _PNG[33:]


def _with_late_chunk(name: str) -> bytes:
    return _PNG[:-12] + CHUNKS[name] + _PNG[-12:]


@pytest.mark.parametrize("name", CHUNKS)
@pytest.mark.parametrize("make", [_with_chunk, _with_late_chunk])
def test_png(name: str, make: Callable[[str], bytes]) -> None:
    """An accepted PNG has variants, whatever its ancillary chunks contain."""
    _require_variant(make(name), "png")


@pytest.mark.parametrize("name", SEGMENTS)
def test_jpeg(name: str) -> None:
    """An accepted JPEG has variants, whatever its application segments contain."""
    for file in (_JPEG, _BARE_JPEG):
        _require_variant(file[:2] + SEGMENTS[name] + file[2:], "jpg")


@given(st.lists(st.binary(max_size=9), min_size=1, max_size=5), st.data())
def test_pieces(pieces: list[bytes], data: st.DataObject) -> None:
    """Pieces read like one file, from any offset."""
    whole = io.BytesIO(b"".join(pieces))
    with open_pieces(*pieces) as file:
        for _ in range(3):
            at, count = data.draw(st.integers(0, 50)), data.draw(st.integers(-1, 50))
            assert file.seek(at) == whole.seek(at)
            assert file.read(count) == whole.read(count)
            assert file.tell() == whole.tell()
