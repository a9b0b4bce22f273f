"""Stripped files have no secret in any place, and the same pixels, colours and movement."""

import io
import itertools
import re

import pytest
from hypothesis import given, settings
from PIL import Image, ImageSequence
from PIL.JpegImagePlugin import JpegImageFile

from config import FORMATS
from errors import TooManyPixelsError
from imaging.containers.content import MalformedImageError
from imaging.stills.formats import still
from tests.support.metadata_places import PLANTED_FORMATS, SECRETS
from tests.support.picture_grammars import generate
from tests.support.planted_metadata import Planted, planted, planted_once
from tests.support.stripping import outline, stripped
from tests.support.taken_apart import gif_blocks, jpeg_segments, png_chunks, webp_chunks

# An independent list of what may remain: the bytes of each chunk, None if they vary.
_PNG_CHUNKS = {
    b"IHDR": 13, b"PLTE": None, b"tRNS": None, b"IDAT": None, b"IEND": 0, b"acTL": 8, b"fcTL": 26,
    b"fdAT": None, b"gAMA": 4, b"cHRM": 32, b"sRGB": 1, b"iCCP": None, b"cICP": 4, b"mDCV": 24,
    b"cLLI": 8, b"sBIT": None, b"bKGD": None, b"pHYs": 9, b"eXIf": 26,
}  # fmt: skip
_WEBP_CHUNKS = {
    b"VP8X": 10, b"ICCP": None, b"ANIM": 6, b"ANMF": None, b"ALPH": None, b"VP8 ": None,
    b"VP8L": None,
}  # fmt: skip
_JPEG_SEGMENTS = {
    0xE0: b"\0\x10JFIF\0.{7}\0\0",
    0xE1: b"\0\x22Exif\0\0(MM\0\\*|II\\*\0).{22}",
    0xE2: b"..ICC_PROFILE\0.*",
    0xEE: b"\0\x0eAdobe.{7}",
    **dict.fromkeys([0xC0, 0xC1, 0xC2, 0xC4, 0xC9, 0xCA, 0xCC, 0xDA, 0xDB, 0xDD], b".*"),
    **dict.fromkeys([0xD8, 0xD9], b""),
}


def _frames(content: bytes) -> tuple[object, ...]:
    """Return the loop count, and what Pillow reports about each frame."""
    with Image.open(io.BytesIO(content)) as image:
        frames = [
            (frame.size, frame.info.get("duration"), frame.convert("RGBA").tobytes())
            for frame in ImageSequence.Iterator(image)
        ]
        return image.info.get("loop"), *frames


def _first_picture(content: bytes, image_format: str) -> tuple[object, ...]:
    """Return the orientation and colours of the first picture, and the pixels of a JPEG."""
    found = still(content, image_format)
    pixels = b""
    if image_format == "jpeg":
        with found.open() as file, JpegImageFile(file) as image:
            image.decodermaxblock = found.size_bytes  # of arithmetic codes Pillow needs all at once
            pixels = image.tobytes()
    return found.canvas, found.orientation, found.colours, found.colour_key, found.place, pixels


def _require_same(planted: Planted, stripped: bytes, image_format: str) -> None:
    assert _first_picture(stripped, image_format) == _first_picture(planted.content, image_format)
    outlines = [outline(content, image_format) for content in (stripped, planted.content)]
    assert outlines[0].shown == outlines[1].shown
    if image_format == "gif":  # its plants may change the delay and the loops
        assert _frames(stripped) == _frames(planted.content)
    elif image_format != "jpeg":  # Pillow refuses some plants
        assert _frames(stripped) == _frames(planted.plain)


@pytest.mark.parametrize("image_format", PLANTED_FORMATS)
def test_each_place(image_format: str) -> None:
    """A single secret is removed wherever it is, and only what is needed remains."""
    for content in planted_once(image_format):
        result = stripped(content, image_format)
        assert not [secret for secret in SECRETS if secret in result]
        _require_standard(result, image_format)


@pytest.mark.parametrize("image_format", PLANTED_FORMATS)
def test_many_places(image_format: str) -> None:
    """Every combination of secrets is removed without changing what is displayed.

    Stripping twice is stripping once, and the plain file stays as it is.
    """

    @settings(max_examples=300, deadline=None)
    @given(planted(image_format))
    def require(file: Planted) -> None:
        result = stripped(file.content, image_format)
        assert not [secret for secret in SECRETS if secret in result]
        _require_standard(result, image_format)
        _require_same(file, result, image_format)
        assert stripped(result, image_format) == result
        assert stripped(file.plain, image_format) == file.plain

    require()


def _require_standard(content: bytes, image_format: str) -> None:
    match image_format:
        case "jpeg":
            for piece in jpeg_segments(content):
                assert re.fullmatch(_JPEG_SEGMENTS[piece[1]], piece[2:], re.DOTALL), piece[:60]
        case "gif":
            for block in gif_blocks(content)[1:-1]:
                assert block[:1] == b"," or len(block) in {8, 19}, block[:60]
            assert gif_blocks(content)[-1] in {b"", b";"}
        case "png":
            _require_lengths(png_chunks(content), _PNG_CHUNKS)
        case "webp":
            chunks = webp_chunks(content[12:])
            for kind, data in chunks:
                assert kind != b"VP8X" or (not data[0] & 0xCD and data[1:4] == bytes(3))
                assert kind != b"ANMF" or not data[15] & 0xFC
            frames = [webp_chunks(data[16:]) for kind, data in chunks if kind == b"ANMF"]
            _require_lengths([*chunks, *itertools.chain(*frames)], _WEBP_CHUNKS)


def _require_lengths(chunks: list[tuple[bytes, bytes]], expected: dict[bytes, int | None]) -> None:
    for kind, data in chunks:
        assert expected[kind] in {None, len(data)}, (kind, data[:60])


def test_generated() -> None:
    """Every accepted file keeps its first picture, and has no metadata left to strip."""
    accepted = set[str]()
    for seed in range(300):
        extension, content = generate(seed)
        image_format = FORMATS[extension].name
        try:
            result = stripped(content, image_format)
        except (MalformedImageError, TooManyPixelsError):
            continue
        accepted.add(image_format)
        assert len(result) <= len(content)
        assert outline(result, image_format).shown == outline(content, image_format).shown
        found = [still(one, image_format) for one in (result, content)]
        assert len({(one.canvas, one.orientation, one.place, one.colour_key) for one in found}) == 1
        assert found[0].colours == found[1].colours
        assert stripped(result, image_format) == result
    assert accepted == set(PLANTED_FORMATS)


def test_every_format() -> None:
    """Secrets are planted in files of every format that uploads may have."""
    assert set(PLANTED_FORMATS) == {accepted.name for accepted in FORMATS.values()}
