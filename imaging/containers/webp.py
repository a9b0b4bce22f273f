"""WebP (RFC 9649): chunks, frames, and the offsets of their bitstreams.

The EXIF chunk has no effect: it follows the pixels, and browsers ignore it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from imaging.containers.content import Content, MalformedImageError, number, take
from imaging.containers.icc import HEADER_BYTES, is_profile
from imaging.containers.limits import PixelLimits
from imaging.containers.outline import Outline

_MOST_CHUNKS = 100_000
FRAME_HEADER_BYTES = 16
HAS_ANIMATION, HAS_ALPHA, HAS_PROFILE = 0x02, 0x10, 0x20  # flags of VP8X (section 2.7)
BITSTREAMS = {b"VP8 ", b"VP8L"}
_LEAST_BYTES = {b"VP8X": 10, b"ANIM": 6}
_FIRST = {b"VP8X", *BITSTREAMS}


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame: its size, and the offsets of its alpha and bitstream."""

    width: int
    height: int
    lossless: bool
    start: int
    end: int

    def decoded_bytes(self) -> int:
        """Return the bytes that its decoder needs: all pixels, or some rows and the alpha."""
        return self.width * (self.height * (4 if self.lossless else 1) + 64)


@dataclass(slots=True, kw_only=True)
class WebpOutline(Outline):
    """A WebP file: its canvas and its frames."""

    animated: bool = False
    frames: list[Frame] = field(default_factory=list)
    chunks: int = 0

    @property
    def decoded_bytes(self) -> int:
        """The memory that the largest frame takes."""
        return max(frame.decoded_bytes() for frame in self.frames)


def walk(content: Content, limits: PixelLimits) -> WebpOutline:
    """Find the canvas and the frames. Raises MalformedImageError or TooManyPixelsError."""
    if content[:4] != b"RIFF" or content[8:12] != b"WEBP":
        raise MalformedImageError("it does not begin as a WebP file does")
    end = 8 + number(content, 4, 4, "little")
    if end > len(content):
        raise MalformedImageError("it is shorter than its RIFF header says")
    found = WebpOutline()
    for index, (kind, at, length) in enumerate(read_chunks(content, 12, end, found)):
        if index == 0 and kind not in _FIRST:
            raise MalformedImageError("it does not begin as a WebP file does")
        if length + length % 2 < _LEAST_BYTES.get(kind, 0):
            raise MalformedImageError("a chunk is shorter than the standard says")
        if kind == b"VP8X" and index == 0:
            found.animated = bool(take(content, at, 10)[0] & HAS_ANIMATION)
            found.width = 1 + number(content, at + 4, 3, "little")
            found.height = 1 + number(content, at + 7, 3, "little")
            limits.check(found.width, found.height)
        elif kind == b"ANMF" and found.animated:
            found.frames.append(_read_animation_frame(content, at, length, found, limits))
    if not found.animated:
        _add_still(content, end, found, limits)
    if not found.frames:
        raise MalformedImageError("it has no frame")
    return found


def read_chunks(
    content: Content, at: int, end: int, found: WebpOutline
) -> Iterator[tuple[bytes, int, int]]:
    """Yield the kind, offset and length of the content of each chunk from `at` to `end`."""
    while at + 8 <= end:
        found.chunks += 1
        if found.chunks > _MOST_CHUNKS:
            raise MalformedImageError(f"it has more than {_MOST_CHUNKS} chunks")
        kind, length = content[at : at + 4], number(content, at + 4, 4, "little")
        if at + 8 + length > end:
            raise MalformedImageError("it is cut short")
        yield kind, at + 8, length
        at += 8 + length + (length & 1)


def _add_still(content: Content, end: int, found: WebpOutline, limits: PixelLimits) -> None:
    frame = find_frame(content, 12, end, found)
    limits.check(frame.width, frame.height)
    if found.width and (found.width, found.height) != (frame.width, frame.height):
        raise MalformedImageError("the picture does not fill its canvas")
    found.width, found.height = frame.width, frame.height
    found.frames.append(frame)


def _read_animation_frame(
    content: Content, at: int, length: int, found: WebpOutline, limits: PixelLimits
) -> Frame:
    """Read one ANMF chunk (section 2.7.1.1): a frame within the canvas."""
    x, y = 2 * number(content, at, 3, "little"), 2 * number(content, at + 3, 3, "little")
    width = 1 + number(content, at + 6, 3, "little")
    height = 1 + number(content, at + 9, 3, "little")
    limits.spend(width, height)
    if x + width > found.width or y + height > found.height:
        raise MalformedImageError("a frame lies outside the canvas")
    frame = find_frame(content, at + FRAME_HEADER_BYTES, at + length, found)
    if (frame.width, frame.height) != (width, height):
        raise MalformedImageError("a frame is of another size than it says")
    return frame


def find_frame(content: Content, at: int, end: int, found: WebpOutline) -> Frame:
    """Find the alpha and the bitstream, which are adjacent, between `at` and `end`."""
    alpha = 0
    for kind, start, length in read_chunks(content, at, end, found):
        if kind == b"ALPH":
            alpha = start - 8
        elif kind in BITSTREAMS:
            size = _lossy_size if kind == b"VP8 " else _lossless_size
            width, height = size(take(content, start, min(length, 10)))
            return Frame(width, height, kind == b"VP8L", alpha or start - 8, start + length)
    raise MalformedImageError("it has no frame")


def find_profile(content: Content, end: int) -> tuple[int, int]:
    """Return the offset and length of the ICC profile of a file that ends at `end`; 0 without one.

    The canvas must announce it. As in browsers, the first one before the frames counts.
    """
    if content[12:16] != b"VP8X" or not content[20] & HAS_PROFILE:
        return 0, 0
    for kind, at, length in read_chunks(content, 12, end, WebpOutline()):
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
