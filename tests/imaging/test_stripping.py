"""Stripped files have no secret in any place, and the same pixels, colours and movement."""

import io
import itertools
import random
import re
import struct
import zlib

import pytest
from hypothesis import given, settings
from PIL import Image, ImageSequence
from PIL.JpegImagePlugin import JpegImageFile

from config import FORMATS
from errors import TooManyPixelsError
from imaging.containers.content import MalformedImageError
from imaging.containers.formats import walk
from imaging.containers.limits import PixelLimits
from imaging.containers.outline import Outline
from imaging.stills.formats import still
from imaging.stripping.formats import strip
from imaging.stripping.remains import Remains
from tests.support import pictures
from tests.support.containers import (
    chunk,
    exif,
    frame_control,
    gif_file,
    gif_frame,
    png_file,
    riff,
    segment,
    uint24,
    webp_file,
    zeros,
)
from tests.support.icc_profiles import ADOBE_RGB
from tests.support.metadata_places import PLACE, PLANTED_FORMATS, SECRETS
from tests.support.picture_grammars import generate
from tests.support.planted_metadata import Planted, planted, planted_once
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


def _walk(content: bytes, image_format: str) -> Outline:
    return walk(content, image_format, PixelLimits(10**6, 10**7))


def _stripped(content: bytes, image_format: str) -> bytes:
    file = io.BytesIO(content)
    changed = strip(content, _walk(content, image_format), file)
    assert changed == (file.getvalue() != content)
    return file.getvalue()


def _frames(content: bytes) -> tuple[object, ...]:
    """Return the loop count, and what Pillow says about each frame."""
    with Image.open(io.BytesIO(content)) as image:
        frames = [
            (frame.size, frame.info.get("duration"), frame.convert("RGBA").tobytes())
            for frame in ImageSequence.Iterator(image)
        ]
        return image.info.get("loop"), *frames


def _first_picture(content: bytes, image_format: str) -> tuple[object, ...]:
    """Return the orientation and colours of the first picture, and of a JPEG its pixels."""
    found = still(content, image_format)
    pixels = b""
    if image_format == "jpeg":
        with found.open() as file, JpegImageFile(file) as image:
            image.decodermaxblock = found.size_bytes  # of arithmetic codes Pillow needs all at once
            pixels = image.tobytes()
    return found.canvas, found.orientation, found.colours, found.colour_key, found.place, pixels


def _require_same(planted: Planted, stripped: bytes, image_format: str) -> None:
    assert _first_picture(stripped, image_format) == _first_picture(planted.content, image_format)
    outlines = [_walk(content, image_format) for content in (stripped, planted.content)]
    assert outlines[0].shown == outlines[1].shown
    if image_format == "gif":  # its plants may change the delay and the loops
        assert _frames(stripped) == _frames(planted.content)
    elif image_format != "jpeg":  # Pillow refuses some plants
        assert _frames(stripped) == _frames(planted.plain)


@pytest.mark.parametrize("image_format", PLANTED_FORMATS)
def test_each_place(image_format: str) -> None:
    """No secret is left, in whichever place it alone is, and nothing but what is needed."""
    for content in planted_once(image_format):
        stripped = _stripped(content, image_format)
        assert not [secret for secret in SECRETS if secret in stripped]
        _require_standard(stripped, image_format)


@pytest.mark.parametrize("image_format", PLANTED_FORMATS)
def test_many_places(image_format: str) -> None:
    """No combination of secrets leaves one, or changes what is displayed.

    Stripping twice is stripping once, and the plain file stays as it is.
    """

    @settings(max_examples=300, deadline=None)
    @given(planted(image_format))
    def require(file: Planted) -> None:
        stripped = _stripped(file.content, image_format)
        assert not [secret for secret in SECRETS if secret in stripped]
        _require_standard(stripped, image_format)
        _require_same(file, stripped, image_format)
        assert _stripped(stripped, image_format) == stripped
        assert _stripped(file.plain, image_format) == file.plain

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


_PNG, _JPEG = pictures.png(), pictures.jpeg()
_PROFILE = ADOBE_RGB.profile()


def _png_with(*chunks: bytes) -> bytes:
    return _PNG[:33] + b"".join(chunks) + _PNG[33:]


def _jpeg_with(*segments: bytes) -> bytes:
    return _JPEG[:2] + b"".join(segments) + _JPEG[2:]


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
    content = _png_with(*needed)
    assert _stripped(content, "png") == content


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("order", "<>")
def test_orientation(orientation: int, order: str) -> None:
    """The orientation stays unless the picture is upright, and nothing else of Exif."""
    alone = exif(orientation, order) if orientation > 1 else b""
    jpeg, png = (segment(0xE1, b"Exif\0\0" + alone), chunk(b"eXIf", alone)) if alone else (b"", b"")
    about = exif(orientation, order) + PLACE
    assert _stripped(_jpeg_with(segment(0xE1, b"Exif\0\0" + about)), "jpeg") == _jpeg_with(jpeg)
    assert _stripped(_png_with(chunk(b"eXIf", about)), "png") == _png_with(png)
    webp = riff(b"VP8X", bytes([8, 0, 0, 0]) + uint24(63) + uint24(47)) + pictures.webp()[12:]
    stripped = _stripped(webp_file(webp, riff(b"EXIF", about)), "webp")
    assert [kind for kind, _ in webp_chunks(stripped[12:])] == [b"VP8X", b"VP8 "]


def test_short_exif() -> None:
    """Exif without the offset of its next directory does not become longer than it was."""
    short = exif(6)[:-4]
    content = _jpeg_with(segment(0xE1, b"Exif\0\0" + short))
    assert _stripped(content, "jpeg") == content


def test_names_of_profiles() -> None:
    """The name of a PNG's profile, which is free text, gives way to that of most writers."""
    compressed = b"\0\0" + zlib.compress(_PROFILE)
    for name, expected in [
        (b"My house", b"ICC Prof"),
        (b"abcd", b"ICC"),
        (b"x" * 79, b"ICC Profile"),
        (b"ICC Profile", b"ICC Profile"),
    ]:
        content = _png_with(chunk(b"iCCP", name + compressed))
        assert png_chunks(_stripped(content, "png"))[1] == (b"iCCP", expected + compressed)


def test_large_profile() -> None:
    """A profile of which only the name changes is stored once, however large it is."""
    profile = zlib.compress(_PROFILE + random.Random(1).randbytes(1_000_000))
    content = _png_with(chunk(b"iCCP", b"My house\0\0" + profile), chunk(b"tEXt", b"a\0b"))
    expected = _png_with(chunk(b"iCCP", b"ICC Prof\0\0" + profile))
    assert _stripped(content, "png") == expected


def test_profile_in_parts() -> None:
    """The parts of a JPEG's profile stay if all are there, and go if one is missing."""
    icc = _PROFILE + bytes(70_000)
    whole = pictures.encoded(pictures.picture(64, 48), "JPEG", icc_profile=icc)
    assert _stripped(whole, "jpeg") == whole
    pieces = jpeg_segments(whole)
    parts = [piece for piece in pieces if piece[1] == 0xE2]
    assert len(parts) == 2
    torn = b"".join(piece for piece in pieces if piece != parts[1])
    assert _stripped(torn, "jpeg") == b"".join(piece for piece in pieces if piece not in parts)


def test_second_pictures() -> None:
    """Of a JPEG with several pictures, such as a gain map, the first stays alone."""
    first, second = pictures.picture(64, 48, 1), pictures.picture(32, 24, 2)
    several = pictures.encoded(first, "MPO", save_all=True, append_images=[second])
    stripped = _stripped(several, "jpeg")
    assert stripped.count(b"\xff\xd8\xff") == 1
    assert b"MPF" not in stripped
    assert stripped == _stripped(pictures.encoded(first, "JPEG"), "jpeg")


def test_tables_behind_the_last_scan() -> None:
    """Tables that no scan uses any more go, those between scans stay."""
    progressive = pictures.encoded(pictures.picture(64, 48), "JPEG", progressive=True)
    assert _stripped(progressive, "jpeg") == progressive
    table = segment(0xC4, b"\3" + bytes([0, 0, 0, 0, len(PLACE), *[0] * 11]) + PLACE)
    late = progressive[:-2] + table + progressive[-2:]
    assert _stripped(late, "jpeg") == progressive


def test_segments_behind_a_scan() -> None:
    """Application segments that follow a scan have no effect and go."""
    pieces = jpeg_segments(pictures.encoded(pictures.picture(64, 48), "JPEG", progressive=True))
    late = segment(0xE1, b"Exif\0\0" + exif(6)), segment(0xEE, b"Adobe" + bytes(7))
    content = b"".join([*pieces[:-2], *late, *pieces[-2:]])
    assert _stripped(content, "jpeg") == b"".join(pieces)


def test_needless_animation() -> None:
    """An animation of no frames and frames that are not announced go."""
    none = _png_with(chunk(b"acTL", bytes(8)))
    assert _stripped(none, "png") == _PNG
    first = chunk(b"acTL", struct.pack(">II", 1, 0)), frame_control(0, (1, 1))
    more = frame_control(1, (1, 1)), chunk(b"fdAT", struct.pack(">I", 2) + zeros(2))
    content = png_file(*first, chunk(b"IDAT", zeros(2)), *more)
    assert _stripped(content, "png") == png_file(*first, chunk(b"IDAT", zeros(2)))


def test_loops_behind_the_frames() -> None:
    """The loop count of a GIF stays where it is, behind the frames as well; a control goes."""
    loops = b"!\xff\x0bNETSCAPE2.0\3\1\7\0\0"
    content = gif_file(gif_frame(1, 1), b"!\xf9\4\0\7\0\0\0", loops)
    assert _stripped(content, "gif") == gif_file(gif_frame(1, 1), loops)


@pytest.mark.parametrize("seed", range(200))
def test_generated(seed: int) -> None:
    """Whatever is accepted has the same first picture without metadata, and none afterwards."""
    extension, content = generate(seed)
    image_format = FORMATS[extension].name
    try:
        stripped = _stripped(content, image_format)
    except (MalformedImageError, TooManyPixelsError):
        return
    assert len(stripped) <= len(content)
    assert _walk(stripped, image_format).shown == _walk(content, image_format).shown
    found = [still(one, image_format) for one in (stripped, content)]
    assert len({(one.canvas, one.orientation, one.place, one.colour_key) for one in found}) == 1
    assert found[0].colours == found[1].colours
    assert _stripped(stripped, image_format) == stripped


def test_broken_pixels() -> None:
    """A PNG whose pixels cannot be inflated is refused and stays as it is."""
    content = png_file(chunk(b"IDAT", zeros(2)[:-4]), chunk(b"tEXt", b"a\0b"))
    file = io.BytesIO(content)
    with pytest.raises(MalformedImageError, match="cut short"):
        strip(content, _walk(content, "png"), file)
    assert file.getvalue() == content


def test_every_format() -> None:
    """Secrets are planted in files of every format that uploads may have."""
    assert set(PLANTED_FORMATS) == {accepted.name for accepted in FORMATS.values()}


def test_format_without_rules() -> None:
    """A format without rules is refused, not stored with its metadata."""
    with pytest.raises(MalformedImageError, match="cannot be removed"):
        strip(b"x", Outline(width=1, height=1), io.BytesIO(b"x"))


def test_overlapping_pieces() -> None:
    """Pieces that would overwrite what follows are refused before the file changes."""
    found = Remains(bytes(100))
    found.replace(10, b"longer than what it replaces")
    with pytest.raises(MalformedImageError, match="overlap"):
        found.keep(20, 30)
