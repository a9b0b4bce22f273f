"""The first frame of a WebP file as a separate file."""

import struct

from imaging.containers import webp
from imaging.containers.content import Content, MalformedImageError, number
from imaging.stills.still import ColourSpace, Still

# Bytes of a lossless pixel before averaging, and of one with opacity, decoded and averaged
_LOSSLESS_PIXEL_BYTES, _PIXEL_BYTES = 4, 10
_LOSSLESS_ALPHA = 1 << 28  # after width and height in a lossless bitstream (RFC 9649 section 3.4)
_Pair = tuple[int, int]


def still(content: Content) -> Still:
    """Return the first frame of a file. As in browsers, the canvas around it is transparent.

    Exif has no effect: it follows the pixels, and browsers ignore it.
    """
    frame, canvas, place, has_alpha = _first_frame(content)
    size = (frame.width - 1).to_bytes(3, "little") + (frame.height - 1).to_bytes(3, "little")
    extended = b"VP8X" + struct.pack("<II", 10, webp.HAS_ALPHA * has_alpha) + size
    bitstream = memoryview(content)[frame.start : frame.end]
    padding = bytes(len(bitstream) % 2)
    length = len(b"WEBP") + len(extended) + len(bitstream) + len(padding)
    head = b"RIFF" + struct.pack("<I", length) + b"WEBP" + extended
    is_opaque = canvas == (frame.width, frame.height) and not (
        has_alpha and bytes(bitstream[:4]) != b"VP8 "
    )
    lossless_bytes = _LOSSLESS_PIXEL_BYTES if frame.lossless else 0
    start, icc_bytes = webp.find_profile(content)
    return Still(
        [head, bitstream, padding],
        canvas,
        lossless_bytes if is_opaque else _PIXEL_BYTES,
        is_opaque=is_opaque,
        scales=is_opaque,
        place=place,
        colours=ColourSpace(icc=content[start : start + icc_bytes]),
        at_once=True,
    )


def _first_frame(content: Content) -> tuple[webp.Frame, _Pair, _Pair, bool]:
    """Return the first frame, the canvas, the frame's place on it, and whether it has alpha."""
    flags, canvas, end = 0, None, webp.riff_end(content)
    for kind, at, length in webp.read_chunks(content, webp.HEAD_BYTES, end):
        if kind == b"VP8X":
            flags, canvas = content[at], webp.read_size(content, at + 4)
        elif kind == b"ANMF" and canvas and flags & webp.HAS_ANIMATION:
            frame = webp.find_frame(content, at + webp.FRAME_HEADER_BYTES, at + length)
            is_announced = bool(flags & webp.HAS_ALPHA)
            has_alpha = is_announced or content[frame.start : frame.start + 4] == b"ALPH"
            return frame, canvas, webp.read_place(content, at), has_alpha
        elif kind in {b"ALPH", *webp.BITSTREAMS} and not flags & webp.HAS_ANIMATION:
            frame = webp.find_frame(content, at - 8, end)
            has_alpha = bool(flags & webp.HAS_ALPHA) if canvas else _announces_alpha(content, at)
            return frame, (frame.width, frame.height), (0, 0), has_alpha
    raise MalformedImageError("it has no frame")


def _announces_alpha(content: Content, at: int) -> bool:
    """Return whether the bitstream at `at` announces alpha, in a file without VP8X."""
    is_lossless = content[at - 8 : at - 4] == b"VP8L"
    return is_lossless and bool(number(content, at + 1, 4, "little") & _LOSSLESS_ALPHA)
