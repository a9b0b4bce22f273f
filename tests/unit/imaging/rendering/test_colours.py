"""Lossless variants match Chromium in colours."""

import struct
import zlib
from collections.abc import Iterator, Sequence

import pytest
from PIL import Image

from tests.support.browser_pixels import Browser, browser, require_equal
from tests.support.colour_tables import profile, table
from tests.support.containers import chunk, png_file
from tests.support.icc_profiles import ADOBE_RGB, DISPLAY_P3, grey_profile
from tests.support.pictures import encoded

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


def deep_grey(*chunks: bytes) -> bytes:
    """Return a PNG of eight 16-bit greys with alpha, with these chunks before its pixels."""
    row = struct.pack(">16H", *(part for value in _GREYS for part in (257 * value, 50_000)))
    return _flat(b"\x10\4", row, *chunks)


def palette(*chunks: bytes, colours: int = 8, opacity: bytes = b"") -> bytes:
    """Return a PNG of eight palette indexes, with these chunks before its palette."""
    table = chunk(b"PLTE", b"".join(map(bytes, _COLOURS[:colours])))
    after = [chunk(b"tRNS", opacity)] if opacity else []
    return _flat(b"\x08\3", bytes(range(8)), *chunks, table, *after)


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


def _gammas(*values: float, extra: tuple[tuple[bytes, bytes], ...] = ()) -> bytes:
    """Return an RGB profile whose red, green and blue have these gammas, with further tags."""
    space, curves = ADOBE_RGB, (struct.pack(">4s4xIH", b"curv", 1, round(256 * v)) for v in values)
    columns = zip((b"rXYZ", b"gXYZ", b"bXYZ"), (space.red, space.green, space.blue), strict=True)
    xyz = [
        (name, struct.pack(">4s4x3i", b"XYZ ", *(round(65536 * part) for part in column)))
        for name, column in columns
    ]
    trc = zip((b"rTRC", b"gTRC", b"bTRC"), curves, strict=True)
    return profile(*xyz, *trc, *extra, pcs=b"XYZ ")


def _patched(at: int, content: bytes, whole: bytes = ADOBE_RGB.profile()) -> bytes:
    return whole[:at] + content + whole[at + len(content) :]


def _coded(*codes: int) -> tuple[bytes, bytes]:
    """Return the cicp tag of a profile."""
    return b"cicp", b"cicp\0\0\0\0" + bytes(codes)


_LENGTH = len(ADOBE_RGB.profile())
_TEXT = b"text\0\0\0\0x\0\0\0"
_LINEAR = profile(
    (b"kTRC", struct.pack(">4s4xI", b"curv", 0)), _coded(1, 13, 0, 1), space=b"GRAY", pcs=b"XYZ "
)
ICC = {
    "longer than it is": _patched(0, struct.pack(">I", _LENGTH + 4)),
    "shorter than its tags": _patched(0, struct.pack(">I", _LENGTH - 4)),
    "without a length": _patched(0, bytes(4)),
    "bytes behind it": ADOBE_RGB.profile() + bytes(9),
    "tag beyond its end": _patched(132 + 4, struct.pack(">I", _LENGTH)),
    "version 5": _patched(8, b"\5\0"),
    "another illuminant": _patched(68, struct.pack(">3i", 65536, 65536, 65536)),
    "unknown class": _patched(12, b"xxxx"),
    "tags twice": _gammas(1.8, 1.8, 1.8, extra=((b"rTRC", _TEXT), (b"gTRC", _TEXT))),
    "200 tags": _gammas(1.8, 1.8, 1.8, extra=tuple((b"z%03d" % i, _TEXT) for i in range(200))),
    "codes": _gammas(1, 1, 1, extra=(_coded(12, 13, 0, 1),)),
    "codes HLG": _gammas(1, 1, 1, extra=(_coded(9, 18, 0, 1),)),
    "codes of narrow range": _gammas(1, 1, 1, extra=(_coded(12, 13, 0, 0),)),
    "codes of YCbCr": _gammas(1, 1, 1, extra=(_coded(12, 13, 1, 1),)),
    "codes unspecified": _gammas(1, 1, 1, extra=(_coded(2, 2, 0, 1),)),
    "codes cut": _gammas(1, 1, 1, extra=(_coded(12, 13, 0),)),
    "codes alone": profile(_coded(12, 8, 0, 1), pcs=b"XYZ "),
    "codes before a table": profile((b"A2B0", table(lambda c: c[::-1])), _coded(12, 8, 0, 1)),
    "grey codes": _LINEAR,
    "grey to Lab": profile((b"kTRC", struct.pack(">4s4xI", b"curv", 0)), space=b"GRAY"),
}


_TINTING = _gammas(1, 2.2, 3)
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
    "cICP before codes in a profile": rgb(_cicp(12, 13, 0, 1), _icc(ICC["codes HLG"])),
    "useless profile and gamma": rgb(_icc(ICC["codes alone"]), _gamma(1)),
    "cICP BT.709": rgb(_cicp(1, 1, 0, 1)),
    "cICP linear": rgb(_cicp(1, 8, 0, 1)),
    "cICP BT.2020": rgb(_cicp(9, 13, 0, 1)),
    **{
        f"cICP HDR {primaries}, {transfer}": rgb(_cicp(primaries, transfer, 0, 1))
        for primaries in (1, 9, 12)
        for transfer in (16, 18)
    },
    **{
        f"cICP {primaries}, {transfer}": rgb(_cicp(primaries, transfer, 0, 1))
        for primaries, transfer in ((4, 13), (10, 13), (22, 8), (1, 7), (1, 11), (9, 17))
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
    "grey with a tinting profile": grey(_icc(_TINTING)),
    "grey with alpha and a tinting profile": grey(_icc(_TINTING), alpha=True),
    "grey of 16 bits with alpha and profile": deep_grey(_icc(grey_profile(lambda part: part))),
    "indexes behind the palette": palette(colours=3),
    "indexes behind the palette, opaque": palette(colours=3, opacity=b"\x40\0"),
    "indexes behind the palette, transparent": palette(colours=3, opacity=b"\xff\0\x40"),
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


@pytest.mark.parametrize("name", ICC)
def test_profile(reference: Browser, name: str) -> None:
    """An unusual ICC profile has the browser's effect, on colours and on greys."""
    for make in (rgb, grey):
        require_equal(reference, make(_icc(ICC[name])), "png")


@pytest.mark.parametrize("name", PNGS)
def test_png(reference: Browser, name: str) -> None:
    """A PNG has the browser's colours, whichever chunks define its colour space."""
    require_equal(reference, PNGS[name], "png")


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
    require_equal(reference, encoded(picture[mode], "JPEG", **options), "jpeg")
