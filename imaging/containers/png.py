"""PNG and APNG (W3C PNG specification, third edition): chunks, checksums, frames, scanlines."""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from imaging.containers.content import Content, MalformedImageError, number, take
from imaging.containers.exif import read_orientation
from imaging.containers.limits import PixelLimits
from imaging.containers.outline import Outline

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_KNOWN_CRITICAL = {b"IHDR", b"PLTE", b"IDAT", b"IEND"}
_NEEDED = {b"IHDR", b"PLTE", b"IDAT"}
OF_FRAMES = {b"fcTL", b"IDAT", b"fdAT"}
GREY, RGB, PALETTE, GREY_ALPHA, RGB_ALPHA = 0, 2, 3, 4, 6  # colour types
_SAMPLES = {GREY: 1, RGB: 3, PALETTE: 1, GREY_ALPHA: 2, RGB_ALPHA: 4}  # per pixel
_DEPTHS = {GREY: {1, 2, 4, 8, 16}, PALETTE: {1, 2, 4, 8}}  # of other types, 8 and 16
# Left, top, horizontal and vertical step of the seven passes of Adam7 (section 8.1)
_ADAM7 = [
    (0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2),
    (0, 1, 1, 2),
]  # fmt: skip
_LAST_DISPOSAL, _LAST_BLENDING = 2, 1
_MAX_CHUNKS = 100_000
MAX_COLOURS = 256
FRAME_CONTROL_BYTES = 26
BLOCK_BYTES = 64 * 1024
INFLATED_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class Header:
    """The image header: size in pixels, bits per pixel, and whether it is interlaced."""

    width: int
    height: int
    pixel_bits: int
    needs_palette: bool
    interlaced: bool

    def passes(self, width: int, height: int) -> list[tuple[int, int]]:
        """Return the bytes and the number of scanlines of each pass over a frame of that size."""
        steps = _ADAM7 if self.interlaced else [(0, 0, 1, 1)]
        sizes = [(-(-(width - x) // dx), -(-(height - y) // dy)) for x, y, dx, dy in steps]
        return [
            (1 + (columns * self.pixel_bits + 7) // 8, rows)
            for columns, rows in sizes
            if columns > 0 and rows > 0
        ]


@dataclass(slots=True)
class _Animation:
    """The progress of an animation: frames and sequence numbers (section 11.3.2)."""

    announced: int
    frames: int = 0
    numbers: int = 0
    lacks_pixels: bool = False

    def check(self, kind: bytes, content: Content, at: int, length: int) -> None:
        """Raise MalformedImageError unless this chunk may follow."""
        if kind == b"fcTL" and length < FRAME_CONTROL_BYTES:
            raise MalformedImageError("a chunk is shorter than the standard says")
        if kind != b"IDAT" and number(content, at, 4, "big") != self.numbers:
            raise MalformedImageError("its frames are out of order")
        if kind == b"fcTL" and self.lacks_pixels:
            raise MalformedImageError("a frame has no pixels")
        self.numbers += kind != b"IDAT"
        self.frames += kind == b"fcTL"
        self.lacks_pixels = kind == b"fcTL"


@dataclass(slots=True, kw_only=True)
class PngOutline(Outline):
    """A PNG file.

    `surplus` has the start and end of each stretch that follows compressed pixels in their chunks;
    it is None before the pixels are inflated.
    """

    surplus: list[tuple[int, int]] | None = None

    @property
    def decoded_bytes(self) -> int:
        """The memory that inflating takes: pixels are checked in pieces and not kept."""
        return 4 * INFLATED_BYTES


def walk(content: Content, limits: PixelLimits) -> PngOutline:
    """Walk the file. Raises MalformedImageError or TooManyPixelsError."""
    header = read_header(content)
    limits.check(header.width, header.height)
    kinds: set[bytes] = set()
    last, orientation, animation = b"IHDR", 1, _Animation(announced_frames(content))
    for kind, at, length in chunks(content):
        _check_critical(kind, kinds, last, header)
        if not is_intact(content, kind, at, length):
            if kind in _NEEDED or (animation.announced and kind in OF_FRAMES):
                raise MalformedImageError("a chunk has a wrong CRC")
            continue  # browsers ignore such a chunk
        if kind == b"acTL" and length != 8:
            raise MalformedImageError("its animation control chunk has a wrong length")
        if kind in {b"PLTE", b"cICP"}:
            _check_colours(kind, kinds, take(content, at, length))
        if animation.announced and kind in OF_FRAMES:
            animation.check(kind, content, at, length)
            if kind == b"fcTL":
                limits.spend(*_next_frame_size(content, at, header, kinds))
        elif kind == b"eXIf" and not kinds & {b"eXIf", b"IDAT"}:
            orientation = read_orientation(take(content, at, length))
        kinds.add(kind)
        last = kind
    if b"IDAT" not in kinds or animation.frames < animation.announced or animation.lacks_pixels:
        raise MalformedImageError("it has too few frames")
    return PngOutline(width=header.width, height=header.height, orientation=orientation)


def announced_frames(content: Content) -> int:
    """Return the number of frames of an animation; 0 if the file is not animated.

    As in browsers, an animation control chunk after the pixels does not count.
    """
    for kind, at, length in chunks(content):
        if kind == b"IDAT":
            break
        if kind == b"acTL" and length == 8 and is_intact(content, kind, at, length):
            return number(content, at, 4, "big")
    return 0


def read_header(content: Content) -> Header:
    """Read the signature and the IHDR chunk. Raises MalformedImageError."""
    if content[:8] != SIGNATURE or content[8:16] != b"\0\0\0\x0dIHDR":
        raise MalformedImageError("it does not begin as a PNG file does")
    depth, colour, compression, filtering, interlace = take(content, 24, 5)
    is_known = colour in _SAMPLES and depth in _DEPTHS.get(colour, {8, 16})
    if not is_known or compression or filtering or interlace > 1:
        raise MalformedImageError("its header is not one of the standard")
    width, height = number(content, 16, 4, "big"), number(content, 20, 4, "big")
    return Header(width, height, depth * _SAMPLES[colour], colour == PALETTE, interlace == 1)


def chunks(content: Content) -> Iterator[tuple[bytes, int, int]]:
    """Yield the kind, offset and length of the content of each chunk up to IEND, inclusive."""
    at = 8
    for _ in range(_MAX_CHUNKS):
        length, kind = number(content, at, 4, "big"), take(content, at + 4, 4)
        if at + 12 + length > len(content):
            raise MalformedImageError("it is cut short")
        yield kind, at + 8, length
        if kind == b"IEND":
            return
        at += 12 + length
    raise MalformedImageError(f"it has more than {_MAX_CHUNKS} chunks")


def _check_critical(kind: bytes, earlier: set[bytes], last: bytes, header: Header) -> None:
    """Check the critical chunks and their order (sections 5.4 to 5.6)."""
    if kind[0] & 0x20:  # lower case: ancillary
        return
    if kind not in _KNOWN_CRITICAL:
        raise MalformedImageError("it has an unknown critical chunk")
    if kind in {b"IHDR", b"PLTE"} and kind in earlier:
        raise MalformedImageError("it has two headers or palettes")
    if kind == b"IDAT" and kind in earlier and last != kind:
        raise MalformedImageError("its pixels are not in one piece")
    if kind == b"IDAT" and header.needs_palette and b"PLTE" not in earlier:
        raise MalformedImageError("it has no palette")


def _check_colours(kind: bytes, earlier: set[bytes], content: bytes) -> None:
    """Refuse what no browser displays: a palette of invalid size, or cICP for other than RGB."""
    if kind == b"PLTE" and not 0 < len(content) // 3 <= MAX_COLOURS:
        raise MalformedImageError(f"its palette does not have 1 to {MAX_COLOURS} colours")
    # Matrix coefficients 0 and the range flag (section 11.3.2.6).
    unread = {b"PLTE", b"IDAT", b"cICP"} & earlier or len(content) != 4
    if kind == b"cICP" and not unread and (content[2] or content[3] > 1):
        raise MalformedImageError("its cICP chunk is not about RGB")


def is_intact(content: Content, kind: bytes, at: int, length: int) -> bool:
    """Return whether the CRC of a chunk matches its content."""
    return checksum(content, kind, at, length) == number(content, at + length, 4, "big")


def checksum(content: Content, kind: bytes, at: int, length: int) -> int:
    """Compute the CRC of a chunk."""
    crc = zlib.crc32(kind)
    for start in range(at, at + length, BLOCK_BYTES):
        crc = zlib.crc32(content[start : min(start + BLOCK_BYTES, at + length)], crc)
    return crc


def _next_frame_size(
    content: Content, at: int, header: Header, earlier: set[bytes]
) -> tuple[int, int]:
    """Return the size of an animation frame; before IDAT it must be that of the default image."""
    size = frame_size(content, at, header)
    if b"IDAT" not in earlier and size != (header.width, header.height):
        raise MalformedImageError("its first frame is smaller than its default image")
    return size


def frame_size(content: Content, at: int, header: Header) -> tuple[int, int]:
    """Return the size of an animation frame.

    Raises MalformedImageError if it lies outside the picture or has an unknown operation.
    """
    width, height, x, y = (number(content, at + i, 4, "big") for i in (4, 8, 12, 16))
    if x + width > header.width or y + height > header.height:
        raise MalformedImageError("a frame lies outside the picture")
    dispose, blend = take(content, at + 24, 2)
    if dispose > _LAST_DISPOSAL or blend > _LAST_BLENDING:
        raise MalformedImageError("a frame has an unknown operation")
    return width, height
