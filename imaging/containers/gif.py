"""GIF (GIF89a specification, sections 17 to 27): blocks, frames and their compressed pixels."""

from collections.abc import Iterator
from dataclasses import dataclass

from imaging.containers.content import Content, MalformedImageError, number, take
from imaging.containers.limits import PixelLimits
from imaging.containers.outline import Outline

IMAGE, EXTENSION, TRAILER, _PADDING = b",", b"!", b";", b"\0"
HEAD_BYTES = 13  # signature and screen
_INTRODUCERS = {IMAGE, EXTENSION, _PADDING}
_COMMENT = 0xFE
GRAPHIC_CONTROL = b"\xf9\4"  # with its length
# Walking as many of either takes about 0.1 s.
_MAX_BLOCKS = 100_000
_MAX_SUB_BLOCKS = 1_000_000


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame: its size, and the offsets of the sub-blocks with its compressed pixels."""

    width: int
    height: int
    interlaced: bool
    code_bits: int
    start: int
    end: int


@dataclass(slots=True, kw_only=True)
class GifOutline(Outline):
    """A GIF file; width and height are those of its screen."""

    frames: list[Frame]

    @property
    def decoded_bytes(self) -> int:
        """The largest frame at one byte per pixel, with a copy of its compressed pixels."""
        return max(frame.width * frame.height + frame.end - frame.start for frame in self.frames)


def walk(content: Content, limits: PixelLimits) -> GifOutline:
    """Find the frames of a file. Raises MalformedImageError or TooManyPixelsError."""
    screen = read_screen(content)
    frames: list[Frame] = []
    for introducer, at, end in blocks(content):
        if introducer == IMAGE:
            frame = _read_frame(content, at, end)
            limits.spend(frame.width, frame.height)
            if not frames:
                screen = screen_with(content, at, screen)
            frames.append(frame)
    if not frames:
        raise MalformedImageError("it has no frame")
    limits.check(*screen)
    return GifOutline(width=screen[0], height=screen[1], frames=frames)


def read_screen(content: Content) -> tuple[int, int]:
    """Return the width and height of the screen (section 18). Raises MalformedImageError."""
    if content[:6] not in {b"GIF87a", b"GIF89a"}:
        raise MalformedImageError("it does not begin as a GIF file does")
    return number(content, 6, 2, "little"), number(content, 8, 2, "little")


def screen_with(content: Content, at: int, screen: tuple[int, int]) -> tuple[int, int]:
    """Extend the screen, as browsers do, to the first frame, whose descriptor is at `at`."""
    left, top, width, height = (number(content, at + i, 2, "little") for i in (0, 2, 4, 6))
    return max(screen[0], left + width), max(screen[1], top + height)


def blocks(content: Content) -> Iterator[tuple[bytes, int, int]]:
    """Yield the introducer, the offset after it, and the end of each block before the trailer.

    As in browsers, an unknown introducer after a complete frame also ends the file.
    """
    remaining, has_frame = _MAX_SUB_BLOCKS, False
    at = HEAD_BYTES + color_table_bytes(take(content, 10, 3)[0])
    for _ in range(_MAX_BLOCKS):
        introducer = content[at : at + 1]
        if introducer == TRAILER or (has_frame and introducer not in _INTRODUCERS):
            return
        at += 1
        start = at
        if introducer == EXTENSION:
            _check_extension(content, at, has_frame=has_frame)
            at, remaining = _skip_sub_blocks(content, at + 1, remaining)
        elif introducer == IMAGE:
            at, remaining = _skip_sub_blocks(
                content, at + _frame_header_bytes(content, at), remaining
            )
            has_frame = True
        elif introducer != _PADDING:  # some encoders add a zero byte, which browsers skip
            reason = "it has an unknown block" if introducer else "it is cut short"
            raise MalformedImageError(reason)
        if remaining < 0:
            raise MalformedImageError(f"it has more than {_MAX_SUB_BLOCKS} sub-blocks")
        yield introducer, start, at
    raise MalformedImageError(f"it has more than {_MAX_BLOCKS} blocks")


def _check_extension(content: Content, at: int, *, has_frame: bool) -> None:
    """Refuse extensions that keep every browser from showing the first frame."""
    kind, length = take(content, at, 2)
    if not length and kind != _COMMENT:
        raise MalformedImageError("it has an empty extension")
    is_control = kind == GRAPHIC_CONTROL[0] and not has_frame
    if is_control and (length != GRAPHIC_CONTROL[1] or take(content, at + 6, 1) != b"\0"):
        raise MalformedImageError("a graphic control extension has a wrong length")


def _skip_sub_blocks(content: Content, at: int, remaining: int) -> tuple[int, int]:
    """Return the offset after the sub-blocks, and how many more the file is allowed."""
    try:
        while remaining >= 0 and (length := content[at]):
            at += length + 1
            remaining -= 1
    except IndexError:
        raise MalformedImageError("it is cut short") from None
    return at + 1, remaining


def _frame_header_bytes(content: Content, at: int) -> int:
    """Return the total bytes of the image descriptor, local color table and code size."""
    return 10 + color_table_bytes(take(content, at, 9)[8])


def color_table_bytes(flags: int) -> int:
    """Return the bytes of the color table that the flags of a descriptor announce."""
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def _read_frame(content: Content, at: int, end: int) -> Frame:
    start = at + _frame_header_bytes(content, at)
    code_bits = take(content, start - 1, 1)[0]
    if not 1 <= code_bits <= 12:  # the standard allows 8, decoders 12
        raise MalformedImageError("a frame has an impossible code size")
    width, height = number(content, at + 4, 2, "little"), number(content, at + 6, 2, "little")
    return Frame(width, height, bool(content[at + 8] & 0x40), code_bits, start, end)
