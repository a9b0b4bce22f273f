"""Lossless variants match Chromium in orientation and the position of frames."""

import struct
import zlib
from collections.abc import Iterator

import pytest
from PIL import Image

from tests.support.browser_pixels import Browser, browser, require_equal
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
from tests.support.icc_profiles import grey_profile
from tests.support.pictures import encoded

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


@pytest.fixture(scope="module")
def reference() -> Iterator[Browser]:
    """Return the browser, shared by all tests of this module."""
    with browser() as started:
        yield started


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


def _entries(*entries: tuple[int, int, int]) -> bytes:
    """Return a JPEG whose Exif data has orientations of these types, counts and values."""
    packed = b"".join(struct.pack("<HHII", 0x0112, *entry) for entry in entries)
    return _with_ifd(struct.pack("<H", len(entries)) + packed + bytes(4))


def _with_ifd(content: bytes) -> bytes:
    return _with_segments(_app1(b"Exif\0\0II*\0\x08\0\0\0" + content))


_TWO = exif(6).replace(b"\3\0\1\0\0\0", b"\3\0\2\0\0\0")
TURNED = {
    "another byte after Exif.jpeg": _with_segments(_app1(b"Exif\0\xff" + exif(6))),
    "two values.jpeg": _with_segments(_app1(b"Exif\0\0" + _TWO)),
    "Exif twice.jpeg": _with_segments(*[_app1(b"Exif\0\0" + exif(turn)) for turn in (6, 1)]),
    "broken Exif first.jpeg": _with_segments(_app1(b"Exif\0\0x"), _app1(b"Exif\0\0" + exif(6))),
    "short Exif first.jpeg": _with_segments(_app1(b"Exif\0"), _app1(b"Exif\0\0" + exif(6))),
    "empty Exif first.jpeg": _with_segments(_app1(b"Exif\0\0"), _app1(b"Exif\0\0" + exif(6))),
    "two orientations.jpeg": _entries((3, 1, 6), (3, 1, 3)),
    "LONG before the orientation.jpeg": _entries((4, 1, 6), (3, 1, 3)),
    "two values before the orientation.jpeg": _entries((3, 2, 6), (3, 1, 3)),
    "zero before the orientation.jpeg": _entries((3, 1, 0), (3, 1, 3)),
    "nine before the orientation.jpeg": _entries((3, 1, 9), (3, 1, 3)),
    "orientation behind 5,000 entries.jpeg": _with_ifd(
        struct.pack("<H", 5001) + bytes(12 * 5000) + struct.pack("<HHII", 0x0112, 3, 1, 6)
    ),
    "orientation behind 60,000 entries.png": _with_chunks(
        chunk(
            b"eXIf",
            b"II*\0\x08\0\0\0"
            + struct.pack("<H", 60_001)
            + bytes(12 * 60_000)
            + struct.pack("<HHII", 0x0112, 3, 1, 6),
        )
    ),
    "more entries announced.jpeg": _with_ifd(b"\x50\0" + struct.pack("<HHII", 0x0112, 3, 1, 6)),
    "cut in the orientation.jpeg": _with_ifd(b"\1\0" + struct.pack("<HHIH", 0x0112, 3, 1, 6)),
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
    """A picture is rotated if and only if the browser rotates it."""
    require_equal(reference, TURNED[name], name.rpartition(".")[2])


def _deflated(colour: tuple[int, int, int], width: int, height: int) -> bytes:
    return zlib.compress((b"\0" + bytes(colour) * width) * height)


def _animation(*chunks: bytes, form: bytes = b"\x08\2") -> bytes:
    control = chunk(b"acTL", struct.pack(">II", 2, 0))
    return png_file(control, *chunks, width=40, height=30, form=form)


def _frame_pixels(number: int, colour: tuple[int, int, int], width: int, height: int) -> bytes:
    return chunk(b"fdAT", struct.pack(">I", number) + _deflated(colour, width, height))


_DEFAULT = chunk(b"IDAT", _deflated(RED, 40, 30))
_GREY_PROFILE = chunk(b"iCCP", b"p\0\0" + zlib.compress(grey_profile(lambda part: part)))
_LAST = [frame_control(2, (40, 30)), _frame_pixels(3, GREEN, 40, 30)]


def _moving_webp(*, lossless: bool, alpha: bool, opacity: int = 255) -> bytes:
    canvas = bytes([0x12 if alpha else 0x02, 0, 0, 0]) + uint24(39) + uint24(29)
    small, large = (
        encoded(Image.new("RGBA", size, colour), "WEBP", lossless=lossless, quality=100)
        for size, colour in (((20, 10), (*BLUE, opacity)), ((40, 30), GREEN))
    )
    small, large = (file[30 if file[12:16] == b"VP8X" else 12 :] for file in (small, large))
    frames = webp_frame(small, 20, 10, at=(6, 8)), webp_frame(large, 40, 30)
    return webp_file(riff(b"VP8X", canvas), riff(b"ANIM", b"\xff\x80\x40\xff\0\0"), *frames)


FRAMES = {
    "default image apart.png": _animation(
        _DEFAULT, frame_control(0, (40, 30)), _frame_pixels(1, BLUE, 40, 30), *_LAST
    ),
    "small frame, default image apart.png": _animation(
        _DEFAULT, frame_control(0, (20, 10), at=(5, 7)), _frame_pixels(1, BLUE, 20, 10), *_LAST
    ),
    "small grey frame with a profile.png": _animation(
        _GREY_PROFILE,
        chunk(b"IDAT", zlib.compress(bytes(41 * 30))),
        frame_control(0, (20, 10), at=(5, 7)),
        chunk(b"fdAT", struct.pack(">I", 1) + zlib.compress((b"\0" + b"\x60" * 20) * 10)),
        frame_control(2, (40, 30)),
        chunk(b"fdAT", struct.pack(">I", 3) + zlib.compress(bytes(41 * 30))),
        form=b"\x08\0",
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
    "translucent frame.webp": _moving_webp(lossless=False, alpha=True, opacity=99),
    "unannounced alpha.webp": _moving_webp(lossless=False, alpha=False, opacity=99),
    "unannounced lossless alpha.webp": _moving_webp(lossless=True, alpha=False, opacity=99),
    "animation control behind the pixels.png": png_file(
        _DEFAULT,
        chunk(b"acTL", struct.pack(">II", 1, 0)),
        frame_control(0, (40, 30)),
        _frame_pixels(1, BLUE, 40, 30),
        width=40,
        height=30,
        form=b"\x08\2",
    ),
}


@pytest.mark.parametrize("name", FRAMES)
def test_first_frame(reference: Browser, name: str) -> None:
    """A variant shows the browser's first frame at the browser's position."""
    require_equal(reference, FRAMES[name], name.rpartition(".")[2])
