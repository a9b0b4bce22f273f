"""Files that attack decoders, each within the size limit for uploads."""

import struct
from collections.abc import Callable
from functools import cache

from PIL import Image

from tests.support import pictures
from tests.support.containers import (
    chunk,
    exif,
    frame_control,
    gif_file,
    gif_frame,
    gif_pixels,
    png_file,
    riff,
    segment,
    webp_animation,
    webp_frame,
    zeros,
)

LARGEST = 50 * 1024 * 1024
_WIDE, _HIGH = 10_000, 5_000  # the limit of 50 megapixels


@cache
def _flat(image_format: str, **options: object) -> bytes:
    """Return a single-color picture with the maximum number of pixels."""
    return pictures.encoded(
        Image.new("P" if image_format == "GIF" else "RGB", (_WIDE, _HIGH)), image_format, **options
    )


def _jpeg_with(segments: bytes) -> bytes:
    """Return a JPEG with these bytes right after its SOI marker."""
    content = pictures.jpeg()
    return content[:2] + segments + content[2:]


def _filled(piece: bytes, around: int = 100_000) -> bytes:
    """Repeat `piece` until a file of the maximum size has `around` bytes left."""
    return piece * ((LARGEST - around) // len(piece))


def _many_scans(picture: bytes, scans: int) -> bytes:
    """Return a progressive JPEG that repeats its last scan `scans` times."""
    start = picture.rindex(b"\xff\xda")
    return picture[:-2] + picture[start:-2] * (scans - 1) + picture[-2:]


def inflating(frames: int, bits: int) -> bytes:
    """Return an APNG with frames of zeros; at 16 bits each frame inflates to 400 MB."""
    data = zeros((1 + bits // 2 * _WIDE) * _HIGH)
    first = [chunk(b"acTL", struct.pack(">II", frames, 0)), frame_control(0, (_WIDE, _HIGH))]
    later = [
        frame_control(2 * n - 1, (_WIDE, _HIGH)) + chunk(b"fdAT", struct.pack(">I", 2 * n) + data)
        for n in range(1, frames)
    ]
    return png_file(
        *first, chunk(b"IDAT", data), *later, width=_WIDE, height=_HIGH, form=bytes([bits, 6])
    )


def _moving_webp(frames: int) -> bytes:
    """Return an animation of lossless, single-color frames with the maximum number of pixels."""
    frame = webp_frame(_flat("WEBP", lossless=True)[12:], _WIDE, _HIGH)
    return webp_animation(_WIDE, _HIGH, *[frame] * frames)


def _moving_gif(frames: int) -> bytes:
    frame = gif_frame(_WIDE, _HIGH, data=gif_pixels(_flat("GIF")))
    return gif_file(*[frame] * frames, width=_WIDE, height=_HIGH)


def _cut_with_an_end(cut: float, **options: object) -> bytes:
    whole = pictures.encoded(pictures.picture(400, 300), "JPEG", **options)
    scan = whole.index(b"\xff\xda")
    return whole[: scan + int((len(whole) - scan) * cut)] + b"\xff\xd9"


_CLEARED = b"!\xf9\4\x08\0\0\0\0"  # disposal method 2: clear the next frame after display
_ANIMATED = chunk(b"acTL", struct.pack(">II", 2, 0)) + frame_control(0, (1, 1))
_PIXEL = chunk(b"IDAT", zeros(2))
_STILL = pictures.webp(16, 16)[12:]

# File name with extension, builder, and the expected verdict of the inspection.
HOSTILE: dict[str, tuple[Callable[[], bytes], str]] = {
    "frame of 40,000 squared.gif": (
        lambda: gif_file(_CLEARED, gif_frame(40_000, 40_000)), "TooManyPixelsError"),
    "second frame of 20,000 squared.gif": (
        lambda: gif_file(_CLEARED, gif_frame(1, 1), _CLEARED, gif_frame(20_000, 20_000)),
        "TooManyPixelsError"),
    "second frame of 65,535 squared.gif": (
        lambda: gif_file(_CLEARED, gif_frame(1, 1), _CLEARED, gif_frame(65_535, 65_535)),
        "TooManyPixelsError"),
    "screen of 65,535 squared.gif": (
        lambda: gif_file(gif_frame(1, 1), width=65_535, height=65_535), "TooManyPixelsError"),
    "frame far outside its screen.gif": (
        lambda: gif_file(gif_frame(2, 2, at=(60_000, 60_000)), width=10, height=10),
        "TooManyPixelsError"),
    "second frame outside.png": (
        lambda: png_file(_ANIMATED, _PIXEL, frame_control(1, (40, 40))), "NotAnImageError"),
    "second frame of 40,000 squared.png": (
        lambda: png_file(_ANIMATED, _PIXEL, frame_control(1, (40_000, 40_000))),
        "NotAnImageError"),
    "frame outside its canvas.webp": (
        lambda: webp_animation(16, 16, webp_frame(_STILL, 16, 16, at=(2, 2))), "NotAnImageError"),
    "frame of 16,384 squared.webp": (
        lambda: webp_animation(16, 16, webp_frame(_STILL, 16_384, 16_384)), "TooManyPixelsError"),
    "frame of another size.webp": (
        lambda: webp_animation(64, 64, webp_frame(_STILL, 32, 32)), "NotAnImageError"),
    "2,000 scans.jpg": (
        lambda: _many_scans(
            pictures.encoded(Image.new("RGB", (800, 600)), "JPEG", progressive=True), 2000),
        "NotAnImageError"),
    "99 scans of 50 megapixels.jpg": (
        lambda: _many_scans(_flat("JPEG", progressive=True), 90), "DecodingTooCostlyError"),
    "millions of scans.jpg": (
        lambda: _jpeg_with(b"")[:-2] + _filled(b"\xff\xda\0\x08\1\1\0\0\x3f\0") + b"\xff\xd9",
        "NotAnImageError"),
    "12 million empty segments.jpg": (
        lambda: _jpeg_with(_filled(segment(0xE1))), "NotAnImageError"),
    "millions of Exif segments.jpg": (
        lambda: _jpeg_with(_filled(segment(0xE1, b"Exif\0\0" + exif(6)))), "NotAnImageError"),
    "nothing but fill bytes.jpg": (
        lambda: b"\xff\xd8" + _filled(b"\xff"), "NotAnImageError"),
    "nothing but stuffed bytes.jpg": (
        lambda: pictures.jpeg()[:-2] + _filled(b"\xff\0"), "NotAnImageError"),
    "millions of restart markers.jpg": (
        lambda: pictures.jpeg()[:-2] + _filled(b"\xff\xd0"), "NotAnImageError"),
    "50 MB of tables.jpg": (
        lambda: _jpeg_with(_filled(segment(0xDB, bytes(65) * 1000))), "NotAnImageError"),
    "24 million sub-blocks of a comment.gif": (
        lambda: gif_file(b"!\xfe" + _filled(b"\1x") + b"\0", gif_frame(1, 1)), "NotAnImageError"),
    "24 million sub-blocks of a frame.gif": (
        lambda: gif_file(gif_frame(1, 1, data=b"\2" + _filled(b"\1D") + b"\0")),
        "NotAnImageError"),
    "16 million empty comments.gif": (
        lambda: gif_file(_filled(b"!\xfe\0"), gif_frame(1, 1)), "NotAnImageError"),
    "50 MB of padding.gif": (
        lambda: gif_file(_filled(b"\0"), gif_frame(1, 1)), "NotAnImageError"),
    "4 million empty chunks.png": (
        lambda: png_file(_filled(chunk(b"teSt", b"")), _PIXEL), "NotAnImageError"),
    "4 million empty IDAT.png": (
        lambda: png_file(_PIXEL, _filled(chunk(b"IDAT", b""))), "NotAnImageError"),
    "inflating text.png": (
        lambda: png_file(chunk(b"zTXt", b"a\0\0" + zeros(2**28)), _PIXEL), "accepted"),
    "inflating profile.png": (
        lambda: png_file(chunk(b"iCCP", b"a\0\0" + zeros(2**28)), _PIXEL), "accepted"),
    "pixels that inflate to more than there are.png": (
        lambda: png_file(chunk(b"IDAT", zeros(2**28))), "accepted"),
    "200 MB of inflated pixels.png": (lambda: inflating(1, 8), "accepted"),
    "2 GB of inflated pixels.png": (lambda: inflating(5, 16), "DecodingTooCostlyError"),
    "50 MB behind the pixels.png": (
        lambda: png_file(_PIXEL, chunk(b"IDAT", _filled(b"\0"))), "accepted"),
    "pixels without an end.png": (
        lambda: png_file(chunk(b"IDAT", zeros(2)[:-4])), "NotAnImageError"),
    "unknown critical chunk.png": (
        lambda: png_file(chunk(b"TEST", b""), _PIXEL), "NotAnImageError"),
    "6 million empty chunks.webp": (
        lambda: b"RIFF" + struct.pack("<I", 4 + len(body := _filled(riff(b"TEST", b""))))
        + b"WEBP" + body, "NotAnImageError"),
    "5 flat frames of 50 megapixels.webp": (lambda: _moving_webp(5), "accepted"),
    "6 flat frames of 50 megapixels.webp": (lambda: _moving_webp(6), "TooManyPixelsError"),
    "5 flat frames of 50 megapixels.gif": (lambda: _moving_gif(5), "accepted"),
    "6 flat frames of 50 megapixels.gif": (lambda: _moving_gif(6), "TooManyPixelsError"),
    "cut in half with an end.jpg": (lambda: _cut_with_an_end(0.5), "NotAnImageError"),
    "cut at 99 % with an end.jpg": (lambda: _cut_with_an_end(0.99), "NotAnImageError"),
    "progressive, cut in half with an end.jpg": (
        lambda: _cut_with_an_end(0.5, progressive=True), "NotAnImageError"),
}  # fmt: skip
