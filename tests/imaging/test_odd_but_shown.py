"""Odd files are accepted where browsers show them, and refused where no browser does."""

import io
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from config import VariantSpec
from imaging.rendering.picture import render_picture
from services.inspection import Inspector
from tests.support.browser_pixels import Browser, browser
from tests.support.containers import (
    chunk,
    frame_control,
    gif_file,
    gif_frame,
    gif_pixels,
    png_file,
)
from tests.support.inspections import inspecting, verdict
from tests.support.pictures import encoded

_PICTURE = Image.new("RGB", (40, 30), (200, 60, 30))
_PNG, _JPEG = encoded(_PICTURE, "PNG"), encoded(_PICTURE, "JPEG", quality=95)
_GIF = encoded(_PICTURE, "GIF")
_MOVING_GIF = encoded(
    _PICTURE, "GIF", save_all=True, append_images=[Image.new("RGB", (40, 30), "blue")]
)
_PIXELS = gif_pixels(encoded(Image.new("1", (8, 8), 1), "GIF"))
_ARITHMETIC = Path(__file__).parent.parent / "support" / "files" / "arithmetic.jpg"


def _png_with(*chunks: bytes) -> bytes:
    return _PNG[:33] + b"".join(chunks) + _PNG[33:]


def _damaged(kind: bytes, content: bytes) -> bytes:
    """Return a chunk with a wrong CRC."""
    return chunk(kind, content)[:-4] + b"\1\2\3\4"


def _with_palette(colours: bytes, form: bytes = b"\x08\3") -> bytes:
    row = bytes(8 * (3 if form == b"\x08\2" else 1))
    pixels = chunk(b"IDAT", zlib.compress((b"\0" + row) * 8))
    return png_file(chunk(b"PLTE", colours), pixels, width=8, height=8, form=form)


def _with_component_names(first: int, second: int, third: int) -> bytes:
    file = bytearray(_JPEG)
    frame, scan = file.index(b"\xff\xc0"), file.index(b"\xff\xda")
    for number, name in enumerate((first, second, third)):
        file[frame + 10 + 3 * number] = file[scan + 5 + 2 * number] = name
    return bytes(file)


def _with_crc(file: bytes, kind: bytes, crc: bytes) -> bytes:
    at = file.index(kind)
    end = at + 4 + int.from_bytes(file[at - 4 : at], "big")
    return file[:end] + crc + file[end + 4 :]


def _moving_png(size: tuple[int, int], at: tuple[int, int] = (0, 0), **options: int) -> bytes:
    """Return an animation of one frame, which is the default image, of this size and place."""
    pixels = chunk(b"IDAT", zlib.compress(bytes((1 + 3 * size[0]) * size[1])))
    control = chunk(b"acTL", struct.pack(">II", 1, 0)), frame_control(0, size, at, **options)
    return png_file(*control, pixels, width=8, height=8, form=b"\x08\2")


def _controlled(*blocks: bytes) -> bytes:
    """Return a GIF with a graphic control extension of these sub-blocks before its frame."""
    control = b"!\xf9" + b"".join(bytes([len(block)]) + block for block in blocks) + b"\0"
    return gif_file(control, gif_frame(8, 8, data=_PIXELS), width=8, height=8)


SHOWN = {
    "animation of one frame.png": _moving_png((8, 8), dispose=2, blend=1),
    "animation control behind the pixels.png": _PNG[:-12]
    + b"".join((chunk(b"acTL", bytes([0, 0, 0, 1] * 2)), frame_control(7, (99, 9)), _PNG[-12:])),
    "control of four bytes.gif": _controlled(bytes(4)),
    "odd control behind a frame.gif": _GIF[:-1] + b"!\xf9\3abc\0;",
    "text with a wrong CRC.png": _png_with(_damaged(b"tEXt", b"a\0b")),
    "late text with a wrong CRC.png": _PNG[:-12] + _damaged(b"tEXt", b"a\0b") + _PNG[-12:],
    "gamma with a wrong CRC.png": _png_with(_damaged(b"gAMA", b"\0\1\x86\xa0")),
    "animation with a wrong CRC.png": _png_with(_damaged(b"acTL", bytes([0, 0, 0, 2] * 2))),
    "end with a wrong CRC.png": _PNG[:-4] + bytes(4),
    "256 colours.png": _with_palette(bytes(768)),
    "more colours than indexes.png": _with_palette(bytes(15), b"\2\3"),
    "palette of no whole colours.png": _with_palette(bytes(25)),
    "cICP of another length.png": _png_with(chunk(b"cICP", b"\x0c\x0d\1")),
    "without trailer.gif": _GIF[:-1],
    "moving, without trailer.gif": _MOVING_GIF[:-1],
    "another byte for the trailer.gif": _GIF[:-1] + b"x",
    "unknown block behind a frame.gif": _GIF[:-1] + b"Zzz;",
    "no screen.gif": gif_file(gif_frame(8, 8, data=_PIXELS), width=0, height=0),
    "frame beyond the screen.gif": gif_file(gif_frame(8, 8, (4, 4), _PIXELS), width=8, height=8),
    "second frame beyond the screen.gif": gif_file(
        gif_frame(8, 8, data=_PIXELS), gif_frame(8, 8, (4, 4), _PIXELS), width=8, height=8
    ),
    "one name for all components.jpeg": _with_component_names(1, 1, 1),
    "one name for two components.jpeg": _with_component_names(1, 2, 2),
    "arithmetic, longer than 64 KB.jpeg": _ARITHMETIC.read_bytes(),
}
SHOWN_BY_NONE = {
    "small default image as a frame.png": _moving_png((7, 8)),
    "default image as a frame elsewhere.png": _moving_png((7, 8), (1, 0)),
    "frame of an unknown disposal.png": _moving_png((8, 8), dispose=3),
    "frame of an unknown blending.png": _moving_png((8, 8), blend=2),
    "control of three bytes.gif": _controlled(bytes(3)),
    "control of five bytes.gif": _controlled(bytes(5)),
    "control of two blocks.gif": _controlled(bytes(4), bytes(4)),
    "no colours.png": _with_palette(b""),
    "257 colours.png": _with_palette(bytes(3 * 257)),
    "257 colours beside RGB.png": _with_palette(bytes(3 * 257), b"\x08\2"),
    "palette with a wrong CRC.png": _png_with(_damaged(b"PLTE", bytes(9))),
    "header with a wrong CRC.png": _with_crc(_PNG, b"IHDR", bytes(4)),
    "cICP of YCbCr.png": _png_with(chunk(b"cICP", bytes([12, 13, 1, 1]))),
    "cICP of an unknown range.png": _png_with(chunk(b"cICP", bytes([12, 13, 0, 2]))),
    "second frame header.jpeg": _JPEG[:2] + _JPEG,
}
CUT = {
    "a pixel's CRC.png": _with_crc(_PNG, b"IDAT", bytes(4)),
    "without its end.png": _PNG[:-12],
    "cut in the second frame.gif": _MOVING_GIF[:-9],
    "without the end of its frame.gif": _GIF[:-2],
    "without its end.jpeg": _JPEG[:-2],
}


@pytest.fixture(scope="module")
def reference() -> Iterator[Browser]:
    """Return the browser, shared by all tests of this module."""
    with browser() as started:
        yield started


@pytest.fixture(scope="module")
def inspector() -> Iterator[Inspector]:
    """Return an inspector with the default settings."""
    with inspecting() as inspector:
        yield inspector


@pytest.mark.parametrize("name", SHOWN)
def test_shown(inspector: Inspector, reference: Browser, name: str) -> None:
    """A file that the browser shows is accepted with the same size, and has variants."""
    content, image_format = SHOWN[name], name.rpartition(".")[2]
    found = verdict(inspector, content, image_format)
    assert (found.verdict, found.detail) == ("accepted", "")
    with inspecting(inspection="header") as trusting:
        assert verdict(trusting, content, image_format).size == found.size
    assert found.size == reference.show(content, f"image/{image_format}").size
    size = render_picture(content, image_format, VariantSpec(8192, 8192), "png", io.BytesIO())
    assert size == found.size


@pytest.mark.parametrize("name", SHOWN_BY_NONE)
def test_shown_by_none(inspector: Inspector, reference: Browser, name: str) -> None:
    """A file that the browser does not show is refused."""
    content, image_format = SHOWN_BY_NONE[name], name.rpartition(".")[2]
    with pytest.raises(Exception, match="cannot be decoded"):
        reference.show(content, f"image/{image_format}")
    assert verdict(inspector, content, image_format).verdict == "NotAnImageError"


@pytest.mark.parametrize("name", CUT)
def test_cut(inspector: Inspector, name: str) -> None:
    """A file that may be an incomplete picture is refused, although browsers show the part."""
    found = verdict(inspector, CUT[name], name.rpartition(".")[2])
    assert found.verdict == "NotAnImageError"


@pytest.mark.parametrize("size", [(8160, 6144), (8192, 6144)])
def test_largest_phones(inspector: Inspector, size: tuple[int, int]) -> None:
    """Pictures of phones with 50 megapixels are accepted."""
    header = struct.pack(">IIBBBBB", *size, 8, 0, 0, 0, 0)
    deflater = zlib.compressobj(1)
    rows = deflater.compress(bytes((1 + size[0]) * size[1])) + deflater.flush()
    content = b"\x89PNG\r\n\x1a\n" + b"".join(
        chunk(kind, data) for kind, data in ((b"IHDR", header), (b"IDAT", rows), (b"IEND", b""))
    )
    assert verdict(inspector, content, "png").size == size
