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
from imaging.stills.still import ColourSpace, Still

# Of lossless pixels before they are averaged. Those with opacity are decoded, then averaged.
_LOSSLESS_PIXEL_BYTES, _PIXEL_BYTES = 4, 10
_LOSSLESS_ALPHA = 1 << 28  # behind the size in a lossless bitstream (RFC 9649 section 3.4)


def still(content: Content) -> Still:
    """Return the first frame of a file. As in browsers, the canvas around it is transparent.

    Exif has no effect: it follows the pixels, and browsers ignore it.
    """
    walked, end = WebpOutline(), 8 + number(content, 4, 4, "little")
    flags, canvas = 0, (0, 0)
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
            if not canvas[0]:
                flags = _announced_alpha(content, at)
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
    has_alpha = flags & HAS_ALPHA and bytes(bitstream[:4]) != b"VP8 "
    is_opaque = canvas == (frame.width, frame.height) and not has_alpha
    lossless_bytes = _LOSSLESS_PIXEL_BYTES if frame.lossless else 0
    return Still(
        [head, bitstream, padding],
        canvas,
        lossless_bytes if is_opaque else _PIXEL_BYTES,
        is_opaque=is_opaque,
        scales=is_opaque,
        place=place,
        colours=ColourSpace(icc=icc),
        at_once=True,
    )


def _announced_alpha(content: Content, at: int) -> int:
    """Return the flag of a file without VP8X, whose bitstream begins at `at`, as browsers do."""
    if content[at - 8 : at - 4] != b"VP8L":
        return 0
    return HAS_ALPHA if number(content, at + 1, 4, "little") & _LOSSLESS_ALPHA else 0
