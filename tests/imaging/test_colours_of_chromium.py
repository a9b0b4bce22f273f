"""Lossless variants match Chromium in colours, orientation and the position of frames."""

import io
import struct
import zlib
from collections.abc import Iterator, Sequence

import pytest
from PIL import Image, ImageChops, ImageStat

from config import VariantSpec
from imaging.rendering.picture import render_picture
from tests.support.browser_pixels import Browser, browser
from tests.support.colour_tables import profile, table
from tests.support.containers import (
    chunk,
    exif,
    frame_control,
    png_file,
    riff,
    segment,
    uint24,
    webp_file,
    webp_frame,
)
from tests.support.icc_profiles import ADOBE_RGB, DISPLAY_P3, grey_profile
from tests.support.pictures import encoded

_LEVELS = 3
RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)
_COLOURS = [(200, 60, 30), (20, 180, 90), (128, 128, 128), (250, 250, 240), (64, 64, 64)]
_COLOURS += [(90, 30, 200), RED, GREEN]
_GREYS = [0, 32, 64, 100, 128, 180, 220, 255]
_P3 = (0.3127, 0.329, 0.68, 0.32, 0.265, 0.69, 0.15, 0.06)


@pytest.fixture(scope="module")
def reference() -> Iterator[Browser]:
    """Return the browser, shared by all tests of this module."""
    with browser() as started:
        yield started


def rgb(*chunks: bytes) -> bytes:
    """Return a PNG of eight colours, with these chunks before its pixels."""
    return _flat(b"\x08\2", b"".join(map(bytes, _COLOURS)), *chunks)


def grey(*chunks: bytes, alpha: bool = False) -> bytes:
    """Return a PNG of eight greys, with these chunks before its pixels."""
    row = b"".join(bytes([value, 255]) if alpha else bytes([value]) for value in _GREYS)
    return _flat(b"\x08\4" if alpha else b"\x08\0", row, *chunks)


def deep(key: tuple[int, int, int]) -> bytes:
    """Return a PNG of eight 16-bit colours, with `key` as the transparent colour."""
    row = struct.pack(">24H", *(257 * part for colour in _COLOURS for part in colour))
    return _flat(b"\x10\2", row, chunk(b"tRNS", struct.pack(">3H", *key)))


def palette(*chunks: bytes) -> bytes:
    """Return a PNG of eight palette colours, with these chunks before the palette."""
    colours = chunk(b"PLTE", b"".join(map(bytes, _COLOURS)))
    return _flat(b"\x08\3", bytes(range(8)), *chunks, colours)


def _flat(form: bytes, row: bytes, *chunks: bytes) -> bytes:
    pixels = chunk(b"IDAT", zlib.compress((b"\0" + row) * 8))
    return png_file(*chunks, pixels, width=8, height=8, form=form)


def _gamma(value: float) -> bytes:
    return chunk(b"gAMA", struct.pack(">I", round(100_000 * value)))


def _primaries(*values: float) -> bytes:
    return chunk(b"cHRM", struct.pack(">8I", *(round(100_000 * value) for value in values)))


def _icc(content: bytes) -> bytes:
    return chunk(b"iCCP", b"p\0\0" + zlib.compress(content))


def _cicp(*values: int) -> bytes:
    return chunk(b"cICP", bytes(values))


_AS_IS, _SWAPPED = table(lambda colour: colour), table(lambda colour: colour[::-1])
PNGS = {
    "no colour space": rgb(),
    "gamma": rgb(_gamma(1)),
    "usual gamma": rgb(_gamma(0.45455)),
    "primaries alone": rgb(_primaries(*_P3)),
    "gamma and primaries": rgb(_gamma(0.45455), _primaries(*_P3)),
    "primaries that span nothing": rgb(_gamma(0.45455), _primaries(*[0.3] * 8)),
    "sRGB before gamma": rgb(chunk(b"sRGB", b"\0"), _gamma(1)),
    "cICP Display P3": rgb(_cicp(12, 13, 0, 1)),
    "cICP before a profile": rgb(_cicp(12, 13, 0, 1), _icc(ADOBE_RGB.profile())),
    "cICP BT.709": rgb(_cicp(1, 1, 0, 1)),
    "cICP linear": rgb(_cicp(1, 8, 0, 1)),
    "cICP BT.2020": rgb(_cicp(9, 13, 0, 1)),
    **{
        f"cICP HDR {primaries}, {transfer}": rgb(_cicp(primaries, transfer, 0, 1))
        for primaries in (1, 9, 12)
        for transfer in (16, 18)
    },
    "cICP unspecified": rgb(_cicp(2, 2, 0, 1)),
    "cICP of narrow range": rgb(_cicp(12, 13, 0, 0)),
    "grey cICP PQ": grey(_cicp(9, 16, 0, 1)),
    "grey cICP HLG": grey(_cicp(9, 18, 0, 1)),
    "grey gamma": grey(_gamma(1)),
    "profile": rgb(_icc(DISPLAY_P3.profile())),
    "profile behind the palette": rgb(chunk(b"PLTE", bytes(9)), _icc(ADOBE_RGB.profile())),
    "gamma behind the palette": rgb(chunk(b"PLTE", bytes(9)), _gamma(1)),
    "cICP behind the palette": rgb(chunk(b"PLTE", bytes(9)), _cicp(12, 13, 0, 1)),
    "grey profile": grey(_icc(grey_profile(lambda part: part))),
    "grey with RGB profile": grey(_icc(ADOBE_RGB.profile())),
    "grey with alpha and RGB profile": grey(_icc(ADOBE_RGB.profile()), alpha=True),
    "RGB with grey profile": rgb(_icc(grey_profile(lambda part: part))),
    "palette with grey profile": palette(_icc(grey_profile(lambda part: part))),
    "16 bits, transparent": deep((200 * 257, 60 * 257, 30 * 257)),
    "16 bits, one off": deep((200 * 257, 60 * 257, 30 * 257 + 1)),
    "transparency before the palette": palette(chunk(b"tRNS", b"\0\0")),
    **{
        f"both tables, intent {intent}": rgb(
            _icc(profile((b"A2B0", _AS_IS), (b"A2B1", _SWAPPED), intent=intent))
        )
        for intent in range(4)
    },
    "relative table alone": rgb(_icc(profile((b"A2B1", _SWAPPED)))),
    "saturation table alone": rgb(_icc(profile((b"A2B2", _SWAPPED)))),
}


def _require_equal(reference: Browser, content: bytes, image_format: str) -> None:
    """Check that a lossless variant equals the browser's rendering on a coloured page."""
    output = io.BytesIO()
    render_picture(content, image_format, VariantSpec(8192, 8192), "png", output)
    ours, theirs = (
        Image.alpha_composite(Image.new("RGBA", picture.size, (128, 0, 128)), picture)
        for picture in (
            Image.open(output).convert("RGBA"),
            reference.show(content, f"image/{image_format}"),
        )
    )
    assert ours.size == theirs.size
    difference = ImageStat.Stat(ImageChops.difference(ours, theirs).convert("RGB")).mean
    assert sum(difference) / 3 <= _LEVELS


@pytest.mark.parametrize("name", PNGS)
def test_png(reference: Browser, name: str) -> None:
    """A PNG has the browser's colours, whichever chunks define its colour space."""
    _require_equal(reference, PNGS[name], "png")


def _stripes(mode: str, colours: Sequence[float | tuple[int, ...]]) -> Image.Image:
    picture = Image.new(mode, (8 * len(colours), 8))
    for index, colour in enumerate(colours):
        picture.paste(colour, (8 * index, 0, 8 * index + 8, 8))
    return picture


_INKS = _stripes(
    "CMYK", [(0, 255, 255, 0), (255, 0, 0, 0), (0, 0, 0, 128), (40, 80, 120, 30), (10,) * 4]
)
_INK_PROFILE = profile(
    (b"A2B0", table(lambda ink: [(1 - part) * (1 - ink[3]) for part in ink[2::-1]], 4, 5)),
    space=b"CMYK",
)


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
@pytest.mark.parametrize("kind", ["none", "grey", "RGB", "table", "CMYK"])
def test_jpeg(reference: Browser, mode: str, kind: str) -> None:
    """A JPEG's profile applies if it has the picture's colour model, or is RGB for grey."""
    picture = {"L": _stripes("L", _GREYS), "RGB": _stripes("RGB", _COLOURS[:6]), "CMYK": _INKS}
    icc = {
        "none": b"",
        "grey": grey_profile(lambda part: part),
        "RGB": ADOBE_RGB.profile(),
        "table": profile((b"A2B0", _SWAPPED)),
        "CMYK": _INK_PROFILE,
    }
    options = {"quality": 100, "subsampling": 0, "icc_profile": icc[kind]}
    _require_equal(reference, encoded(picture[mode], "JPEG", **options), "jpeg")


def _corners() -> Image.Image:
    picture = Image.new("RGB", (40, 30), "white")
    for colour, place in ((RED, (0, 0)), (GREEN, (20, 0)), (BLUE, (0, 15))):
        picture.paste(colour, (*place, place[0] + 20, place[1] + 15))
    return picture


_PNG, _JPEG = encoded(_corners(), "PNG"), encoded(_corners(), "JPEG", quality=100, subsampling=0)


def _with_segments(*segments: bytes) -> bytes:
    return _JPEG[:2] + b"".join(segments) + _JPEG[2:]


def _with_chunks(*chunks: bytes) -> bytes:
    return _PNG[:33] + b"".join(chunks) + _PNG[33:]


def _app1(content: bytes) -> bytes:
    return segment(0xE1, content)


_TWO = exif(6).replace(b"\3\0\1\0\0\0", b"\3\0\2\0\0\0")
TURNED = {
    "another byte after Exif.jpeg": _with_segments(_app1(b"Exif\0\xff" + exif(6))),
    "two values.jpeg": _with_segments(_app1(b"Exif\0\0" + _TWO)),
    "Exif twice.jpeg": _with_segments(*[_app1(b"Exif\0\0" + exif(turn)) for turn in (6, 1)]),
    "broken Exif first.jpeg": _with_segments(_app1(b"Exif\0\0x"), _app1(b"Exif\0\0" + exif(6))),
    "JPEG's prefix in eXIf.png": _with_chunks(chunk(b"eXIf", b"Exif\0\0" + exif(6))),
    "eXIf twice.png": _with_chunks(*[chunk(b"eXIf", exif(turn)) for turn in (6, 1)]),
    "broken eXIf first.png": _with_chunks(chunk(b"eXIf", b"x"), chunk(b"eXIf", exif(6))),
    "empty eXIf first.png": _with_chunks(chunk(b"eXIf", b""), chunk(b"eXIf", exif(6))),
    "eXIf of 70 KB.png": _with_chunks(chunk(b"eXIf", exif(6) + bytes(70_000))),
    "Exif behind the pixels.webp": encoded(
        _corners(), "WEBP", lossless=True, exif=b"Exif\0\0" + exif(6)
    ),
    **{f"{turn}.jpeg": _with_segments(_app1(b"Exif\0\0" + exif(turn))) for turn in range(1, 9)},
    **{f"{turn}.png": _with_chunks(chunk(b"eXIf", exif(turn))) for turn in range(1, 9)},
}


@pytest.mark.parametrize("name", TURNED)
def test_orientation(reference: Browser, name: str) -> None:
    """A picture is rotated exactly if the browser rotates it."""
    _require_equal(reference, TURNED[name], name.rpartition(".")[2])


def _deflated(colour: tuple[int, int, int], width: int, height: int) -> bytes:
    return zlib.compress((b"\0" + bytes(colour) * width) * height)


def _animation(*chunks: bytes) -> bytes:
    control = chunk(b"acTL", struct.pack(">II", 2, 0))
    return png_file(control, *chunks, width=40, height=30, form=b"\x08\2")


def _frame_pixels(number: int, colour: tuple[int, int, int], width: int, height: int) -> bytes:
    return chunk(b"fdAT", struct.pack(">I", number) + _deflated(colour, width, height))


_DEFAULT = chunk(b"IDAT", _deflated(RED, 40, 30))
_LAST = [frame_control(2, (40, 30)), _frame_pixels(3, GREEN, 40, 30)]


def _moving_webp(*, lossless: bool, alpha: bool) -> bytes:
    canvas = bytes([0x12 if alpha else 0x02, 0, 0, 0]) + uint24(39) + uint24(29)
    small, large = (
        encoded(Image.new("RGB", size, colour), "WEBP", lossless=lossless, quality=100)[12:]
        for size, colour in (((20, 10), BLUE), ((40, 30), GREEN))
    )
    frames = webp_frame(small, 20, 10, at=(6, 8)), webp_frame(large, 40, 30)
    return webp_file(riff(b"VP8X", canvas), riff(b"ANIM", b"\xff\x80\x40\xff\0\0"), *frames)


FRAMES = {
    "default image apart.png": _animation(
        _DEFAULT, frame_control(0, (40, 30)), _frame_pixels(1, BLUE, 40, 30), *_LAST
    ),
    "small frame, default image apart.png": _animation(
        _DEFAULT, frame_control(0, (20, 10), at=(5, 7)), _frame_pixels(1, BLUE, 20, 10), *_LAST
    ),
    "default image first.png": _animation(
        frame_control(0, (40, 30)),
        _DEFAULT,
        frame_control(1, (40, 30)),
        _frame_pixels(2, BLUE, 40, 30),
    ),
    "small frame.webp": _moving_webp(lossless=False, alpha=False),
    "small lossless frame.webp": _moving_webp(lossless=True, alpha=False),
    "small frame with alpha.webp": _moving_webp(lossless=False, alpha=True),
}


@pytest.mark.parametrize("name", FRAMES)
def test_first_frame(reference: Browser, name: str) -> None:
    """A variant shows the browser's first frame at the browser's position."""
    _require_equal(reference, FRAMES[name], name.rpartition(".")[2])
