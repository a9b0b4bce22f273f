"""The first frame of a WebP file as a file of its own."""

import struct

from imaging.containers.content import Content, MalformedImageError, number
from imaging.containers.webp import (
    BITSTREAMS,
    FRAME_HEADER_BYTES,
    HAS_ALPHA,
    HAS_ANIMATION,
    Frame,
    WebpOutline,
    find_frame,
    find_profile,
    read_chunks,
)
from imaging.stills.still import ColourSpace, Piece, Still

_PIXEL_BYTES = 18  # libwebp and Pillow keep three copies, and averaging takes another one


def still(content: Content) -> Still:
    """Return the first frame of a file. As in browsers, the canvas around it is transparent.

    Exif has no effect: it follows the pixels, and browsers ignore it.
    """
    walked, end = WebpOutline(), 8 + number(content, 4, 4, "little")
    flags, canvas = HAS_ALPHA, (0, 0)
    start, size = find_profile(content, end)
    icc = content[start : start + size]
    for kind, at, length in read_chunks(content, 12, end, walked):
        if kind == b"VP8X":
            flags = content[at]
            canvas = (
                1 + number(content, at + 4, 3, "little"),
                1 + number(content, at + 7, 3, "little"),
            )
        elif kind == b"ANMF" and flags & HAS_ANIMATION:
            place = 2 * number(content, at, 3, "little"), 2 * number(content, at + 3, 3, "little")
            frame = find_frame(content, at + FRAME_HEADER_BYTES, at + length, walked)
            if content[frame.start : frame.start + 4] == b"ALPH":  # announced or not
                flags |= HAS_ALPHA
            return _still(content, frame, flags, canvas, place, icc)
        elif kind in {b"ALPH", *BITSTREAMS} and not flags & HAS_ANIMATION:
            frame = find_frame(content, at - 8, end, walked)
            return _still(content, frame, flags, (frame.width, frame.height), (0, 0), icc)
    raise MalformedImageError("it has no frame")


def _still(
    content: Content,
    frame: Frame,
    flags: int,
    canvas: tuple[int, int],
    place: tuple[int, int],
    icc: bytes,
) -> Still:
    size = (frame.width - 1).to_bytes(3, "little") + (frame.height - 1).to_bytes(3, "little")
    extended = b"VP8X" + struct.pack("<II", 10, flags & HAS_ALPHA) + size
    bitstream = memoryview(content)[frame.start : frame.end]
    padding = bytes(len(bitstream) % 2)
    length = len(b"WEBP") + len(extended) + len(bitstream) + len(padding)
    head = b"RIFF" + struct.pack("<I", length) + b"WEBP" + extended
    pieces: list[Piece] = [head, bitstream, padding]
    return Still(pieces, canvas, _PIXEL_BYTES, place=place, colours=ColourSpace(icc=icc))
