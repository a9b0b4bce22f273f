"""Odd but valid files, as cameras and editors write them, are accepted with correct sizes."""

import io
import struct
import zlib
from collections.abc import Callable, Iterator

import pytest
from PIL import Image, PngImagePlugin

from services.inspection import Inspector
from tests.support import pictures
from tests.support.containers import (
    chunk,
    exif,
    gif_file,
    gif_frame,
    riff,
    segment,
    uint24,
    webp_file,
)
from tests.support.inspections import inspecting, verdict


@pytest.fixture(scope="module")
def inspector() -> Iterator[Inspector]:
    """Return an inspector with the default settings."""
    with inspecting() as inspector:
        verdict(inspector, pictures.jpeg(), "jpg")
        yield inspector


def _jpeg_with(piece: bytes, before: bytes = b"\xff\xdb") -> bytes:
    content = pictures.jpeg()
    at = content.index(before)
    return content[:at] + piece + content[at:]


def _png_with(piece: bytes, *, before: bytes = b"IDAT") -> bytes:
    content = pictures.png()
    at = content.index(before) - 4
    return content[:at] + piece + content[at:]


def _multi_picture() -> bytes:
    first, second = pictures.picture(640, 480, 1), pictures.picture(64, 48, 2)
    return pictures.encoded(first, "MPO", save_all=True, append_images=[second])


def _png(mode: str, **options: object) -> bytes:
    return pictures.encoded(pictures.picture(67, 43).convert(mode), "PNG", **options)


def _interlaced(width: int, height: int) -> bytes:
    """Return an interlaced PNG of zeros; Pillow cannot write one."""
    raw = b""
    passes = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2)]
    for x, y, dx, dy in [*passes, (0, 1, 1, 2)]:
        columns, rows = len(range(x, width, dx)), len(range(y, height, dy))
        raw += bytes((1 + 3 * columns) * rows) if columns else b""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 1)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def _many_small_chunks() -> bytes:
    content = pictures.png()
    at = content.index(b"IDAT")
    (length,) = struct.unpack(">I", content[at - 4 : at])
    data = content[at + 4 : at + 4 + length]
    pieces = b"".join(chunk(b"IDAT", data[i : i + 1]) for i in range(length))
    return content[: at - 4] + pieces + content[at + 8 + length :]


def _text(size: int) -> PngImagePlugin.PngInfo:
    text = PngImagePlugin.PngInfo()
    text.add_text("mxfile", pictures.noise_png(size).hex(), zip=True)
    return text


def _webp_with_alpha() -> bytes:
    return pictures.encoded(pictures.picture(64, 48).convert("RGBA").rotate(20), "WEBP")


HONEST: dict[str, Callable[[], bytes]] = {
    "fill bytes before a marker.jpg": lambda: _jpeg_with(b"\xff" * 1000),
    "fill bytes before the scan.jpg": lambda: _jpeg_with(b"\xff\xff", before=b"\xff\xda"),
    "fill bytes before the end.jpg": lambda: pictures.jpeg()[:-2] + b"\xff\xff\xff\xd9",
    "stray bytes between segments.jpg": lambda: _jpeg_with(b"\0\1stray"),
    "stray bytes before the end.jpg": lambda: pictures.jpeg()[:-2] + b"\0\0\0\xff\xd9",
    "several pictures.jpg": _multi_picture,
    "film behind the picture.jpg": lambda: pictures.jpeg() + bytes(300_000),
    "another picture behind it.jpg": lambda: pictures.jpeg() + pictures.png(),
    "large profile and comments.jpg": lambda: _jpeg_with(
        segment(0xE2, b"ICC_PROFILE\0\1\1" + bytes(60_000)) * 200 + segment(0xFE, b"x" * 60_000)
    ),
    "progressive.jpg": lambda: pictures.encoded(
        pictures.picture(640, 480), "JPEG", progressive=True
    ),
    "progressive, grey.jpg": lambda: pictures.encoded(
        pictures.picture(640, 480).convert("L"), "JPEG", progressive=True
    ),
    "restart markers.jpg": lambda: pictures.encoded(
        pictures.picture(640, 480), "JPEG", restart_marker_blocks=3
    ),
    "four colours.jpg": lambda: pictures.encoded(
        pictures.picture(640, 480).convert("CMYK"), "JPEG"
    ),
    "one pixel.jpg": lambda: pictures.jpeg(1, 1),
    "one column.jpg": lambda: pictures.jpeg(1, 5000),
    "large text.png": lambda: pictures.encoded(
        pictures.picture(64, 48), "PNG", pnginfo=_text(1_500_000)
    ),
    "large profile.png": lambda: _png_with(
        chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(3_000_000))), before=b"IDAT"
    ),
    "unknown ancillary chunk.png": lambda: _png_with(chunk(b"prIv", bytes(100))),
    "pixels in one-byte chunks.png": _many_small_chunks,
    "bytes behind the end.png": lambda: pictures.png() + bytes(1000),
    "interlaced.png": lambda: _interlaced(67, 43),
    "interlaced, small.png": lambda: _interlaced(3, 1),
    **{f"mode {mode}.png": lambda mode=mode: _png(mode) for mode in  # type: ignore[misc]
       ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")},
    "four colours in a palette.png": lambda: _png("P", bits=2),
    "moving.png": lambda: _png("RGB", save_all=True, append_images=[pictures.picture(67, 43, 1)]),
    "moving, still aside.png": lambda: _png(
        "RGB", save_all=True, default_image=True, append_images=[pictures.picture(30, 20, 1)] * 3
    ),
    "moving.gif": lambda: pictures.gif(frames=7),
    "padding between blocks.gif": lambda: gif_file(b"\0\0", gif_frame(1, 1), b"\0"),
    "comments.gif": lambda: gif_file(b"!\xfe\3abc\0" * 500, gif_frame(1, 1)),
    "bytes behind the end.gif": lambda: pictures.gif() + b"\0\r\n",
    "small frame.gif": lambda: gif_file(gif_frame(1, 1, at=(8, 9)), width=10, height=10),
    "opacity.webp": _webp_with_alpha,
    "lossless.webp": lambda: pictures.encoded(pictures.picture(64, 48), "WEBP", lossless=True),
    "one pixel.webp": lambda: pictures.webp(1, 1),
    "unknown chunk.webp": lambda: webp_file(
        riff(b"VP8X", bytes(4) + uint24(63) + uint24(47)), riff(b"TEST", b"abc"),
        pictures.webp()[12:]),
    "bytes behind the end.webp": lambda: pictures.webp() + bytes(100),
    "moving.webp": lambda: pictures.encoded(
        pictures.picture(64, 48), "WEBP", save_all=True,
        append_images=[pictures.picture(64, 48, seed) for seed in range(5)]),
}  # fmt: skip


@pytest.mark.parametrize("name", HONEST)
def test_honest(inspector: Inspector, name: str) -> None:
    """The file is accepted by both inspections, with the width and height that Pillow reads."""
    content, extension = HONEST[name](), name.rpartition(".")[2]
    found = verdict(inspector, content, extension)
    assert found.verdict == "accepted", found.detail
    with inspecting(inspection="header") as trusting:
        assert verdict(trusting, content, extension).size == found.size
    limit, PngImagePlugin.MAX_TEXT_CHUNK = PngImagePlugin.MAX_TEXT_CHUNK, 10**9
    with Image.open(io.BytesIO(content)) as picture:
        assert found.size == picture.size
    PngImagePlugin.MAX_TEXT_CHUNK = limit


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("orientation", range(10))
def test_orientation(inspector: Inspector, orientation: int, order: str) -> None:
    """Width and height are swapped if the Exif orientation rotates by 90 degrees."""
    about = exif(orientation, order)
    shown = (48, 64) if orientation in range(5, 9) else (64, 48)
    jpeg = _jpeg_with(segment(0xE1, b"Exif\0\0" + about))
    assert verdict(inspector, jpeg, "jpg").size == shown
    assert verdict(inspector, _png_with(chunk(b"eXIf", about)), "png").size == shown
    late = _png_with(chunk(b"eXIf", about), before=b"IEND")
    assert verdict(inspector, late, "png").size == (64, 48)


def test_broken_exif(inspector: Inspector) -> None:
    """Malformed Exif data is ignored."""
    whole = exif(6)
    broken = [whole[:at] for at in range(len(whole) - 6)]
    broken += [b"II*\0\xff\xff\xff\xff", b"II*\0" + struct.pack("<IH", 8, 65535) + bytes(50_000)]
    for about in broken:
        jpeg = _jpeg_with(segment(0xE1, b"Exif\0\0" + about))
        found = verdict(inspector, jpeg, "jpg")
        assert (found.verdict, found.size) == ("accepted", (64, 48)), found.detail
