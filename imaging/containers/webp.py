"""WebP (RFC 9649): chunks, frames, and the offsets of their bitstreams.

The EXIF chunk has no effect: it follows the pixels, and browsers ignore it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from imaging.containers.content import Content, MalformedImageError, number, take
from imaging.containers.icc import HEADER_BYTES, is_profile
from imaging.containers.limits import PixelLimits
from imaging.containers.outline import Outline

_MAX_CHUNKS = 100_000
HEAD_BYTES, FRAME_HEADER_BYTES = 12, 16
HAS_ANIMATION, HAS_ALPHA, HAS_PROFILE = 0x02, 0x10, 0x20  # flags of VP8X (section 2.7)
BITSTREAMS = {b"VP8 ", b"VP8L"}
_MIN_BYTES = {b"VP8X": 10, b"ANIM": 6}
_FIRST = {b"VP8X", *BITSTREAMS}


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame: its size, and the offsets of its alpha and bitstream."""

    width: int
    height: int
    lossless: bool
    start: int
    end: int


@dataclass(slots=True, kw_only=True)
class WebpOutline(Outline):
    """A WebP file: its canvas, its frames, and how many chunks were read."""

    animated: bool = False
    frames: list[Frame] = field(default_factory=list)
    chunks: int = 0

    @property
    def decoded_bytes(self) -> int:
        """The memory of the largest frame: all its pixels, or some rows and the alpha."""
        return max(
            frame.width * (frame.height * (4 if frame.lossless else 1) + 64)
            for frame in self.frames
        )


def walk(content: Content, limits: PixelLimits) -> WebpOutline:
    """Find the canvas and the frames. Raises MalformedImageError or TooManyPixelsError."""
    if content[:4] != b"RIFF" or content[8:12] != b"WEBP":
        raise MalformedImageError("it does not begin as a WebP file does")
    end = riff_end(content)
    if end > len(content):
        raise MalformedImageError("it is shorter than its RIFF header says")
    outline = WebpOutline()
    for index, (kind, at, length) in enumerate(read_chunks(content, HEAD_BYTES, end, outline)):
        if index == 0 and kind not in _FIRST:
            raise MalformedImageError("it does not begin as a WebP file does")
        if length + length % 2 < _MIN_BYTES.get(kind, 0):
            raise MalformedImageError("a chunk is shorter than the standard says")
        if kind == b"VP8X" and index == 0:
            outline.animated = bool(take(content, at, 10)[0] & HAS_ANIMATION)
            outline.width, outline.height = read_size(content, at + 4)
            limits.check(outline.width, outline.height)
        elif kind == b"ANMF" and outline.animated:
            outline.frames.append(_read_animation_frame(content, at, length, outline, limits))
    if not outline.animated:
        _add_still(content, end, outline, limits)
    if not outline.frames:
        raise MalformedImageError("it has no frame")
    return outline


def riff_end(content: Content) -> int:
    """Return the end of the file according to its RIFF header."""
    return 8 + number(content, 4, 4, "little")


def read_size(content: Content, at: int) -> tuple[int, int]:
    """Return the width and height of a canvas or frame, stored in three bytes each, less one."""
    return 1 + number(content, at, 3, "little"), 1 + number(content, at + 3, 3, "little")


def read_place(content: Content, at: int) -> tuple[int, int]:
    """Return the left and top of the frame whose ANMF content starts at `at`."""
    return 2 * number(content, at, 3, "little"), 2 * number(content, at + 3, 3, "little")


def read_chunks(
    content: Content, at: int, end: int, outline: WebpOutline | None = None
) -> Iterator[tuple[bytes, int, int]]:
    """Yield the kind, offset and length of the content of each chunk from `at` to `end`.

    A walk passes its `outline`, which counts the chunks of the whole file.
    """
    outline = outline or WebpOutline()
    while at + 8 <= end:
        outline.chunks += 1
        if outline.chunks > _MAX_CHUNKS:
            raise MalformedImageError(f"it has more than {_MAX_CHUNKS} chunks")
        kind, length = content[at : at + 4], number(content, at + 4, 4, "little")
        if at + 8 + length > end:
            raise MalformedImageError("it is cut short")
        yield kind, at + 8, length
        at += 8 + length + (length & 1)


def _add_still(content: Content, end: int, outline: WebpOutline, limits: PixelLimits) -> None:
    frame = find_frame(content, HEAD_BYTES, end, outline)
    limits.check(frame.width, frame.height)
    if outline.width and (outline.width, outline.height) != (frame.width, frame.height):
        raise MalformedImageError("the picture does not fill its canvas")
    outline.width, outline.height = frame.width, frame.height
    outline.frames.append(frame)


def _read_animation_frame(
    content: Content, at: int, length: int, outline: WebpOutline, limits: PixelLimits
) -> Frame:
    """Read one ANMF chunk (section 2.7.1.1): a frame within the canvas."""
    x, y = read_place(content, at)
    width, height = read_size(content, at + 6)
    limits.spend(width, height)
    if x + width > outline.width or y + height > outline.height:
        raise MalformedImageError("a frame lies outside the canvas")
    frame = find_frame(content, at + FRAME_HEADER_BYTES, at + length, outline)
    if (frame.width, frame.height) != (width, height):
        raise MalformedImageError("a frame is of another size than it says")
    return frame


def find_frame(content: Content, at: int, end: int, outline: WebpOutline | None = None) -> Frame:
    """Find the alpha and the bitstream, which are adjacent, between `at` and `end`."""
    alpha = 0
    for kind, start, length in read_chunks(content, at, end, outline):
        if kind == b"ALPH":
            alpha = start - 8
        elif kind in BITSTREAMS:
            size = _lossy_size if kind == b"VP8 " else _lossless_size
            width, height = size(take(content, start, min(length, 10)))
            return Frame(width, height, kind == b"VP8L", alpha or start - 8, start + length)
    raise MalformedImageError("it has no frame")


def find_profile(content: Content) -> tuple[int, int]:
    """Return the offset and length of the ICC profile; 0 and 0 without one.

    The canvas must announce it. As in browsers, the first one before the frames counts.
    """
    if content[12:16] != b"VP8X" or not content[20] & HAS_PROFILE:
        return 0, 0
    for kind, at, length in read_chunks(content, HEAD_BYTES, riff_end(content)):
        if kind == b"ICCP" and is_profile(content[at : at + min(length, HEADER_BYTES)]):
            return at, length
        if kind in {b"ICCP", b"ANMF", b"ALPH", *BITSTREAMS}:
            break
    return 0, 0


def _lossy_size(bitstream: bytes) -> tuple[int, int]:
    """Read the size from the header of a key frame (RFC 6386 section 9.1)."""
    if len(bitstream) < 10 or bitstream[0] & 1 or bitstream[3:6] != b"\x9d\x01\x2a":
        raise MalformedImageError("a bitstream does not begin as VP8 does")
    wide, high = number(bitstream, 6, 2, "little"), number(bitstream, 8, 2, "little")
    return wide & 0x3FFF, high & 0x3FFF


def _lossless_size(bitstream: bytes) -> tuple[int, int]:
    """Read the size from the header of a lossless bitstream (RFC 9649 section 3.4)."""
    if bitstream[:1] != b"\x2f":
        raise MalformedImageError("a bitstream does not begin as VP8L does")
    bits = number(bitstream, 1, 4, "little")
    return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
