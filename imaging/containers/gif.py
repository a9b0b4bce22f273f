"""GIF (GIF89a specification, sections 17 to 27): blocks, frames and their compressed pixels."""

from collections.abc import Iterator
from dataclasses import dataclass

from imaging.containers.content import Content, MalformedImageError, number, take
from imaging.containers.limits import PixelLimits
from imaging.containers.outline import Outline

IMAGE, EXTENSION, _TRAILER, _PADDING = b",", b"!", b";", b"\0"
_INTRODUCERS = {IMAGE, EXTENSION, _PADDING}
_COMMENT, _GRAPHIC_CONTROL, _CONTROL_BYTES = 0xFE, 0xF9, 4
# Walking either number takes about 0.1 s.
_MOST_BLOCKS = 100_000
_MOST_SUB_BLOCKS = 1_000_000


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame: its size, and the offsets of its compressed pixels, which are in sub-blocks."""

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
        """One byte per pixel of a frame, and a copy of its compressed pixels."""
        return max(frame.width * frame.height + frame.end - frame.start for frame in self.frames)


def walk(content: Content, limits: PixelLimits) -> GifOutline:
    """Find the frames of a file. Raises MalformedImageError or TooManyPixelsError."""
    screen = read_screen(content)
    found: list[Frame] = []
    for introducer, at, end in blocks(content):
        if introducer == IMAGE:
            frame = _read_frame(content, at, end)
            limits.spend(frame.width, frame.height)
            if not found:
                screen = screen_with(content, at, screen)
            found.append(frame)
    if not found:
        raise MalformedImageError("it has no frame")
    limits.check(*screen)
    return GifOutline(width=screen[0], height=screen[1], frames=found)


def read_screen(content: Content) -> tuple[int, int]:
    """Return the width and height of the screen (section 18). Raises MalformedImageError."""
    if content[:6] not in {b"GIF87a", b"GIF89a"}:
        raise MalformedImageError("it does not begin as a GIF file does")
    return number(content, 6, 2, "little"), number(content, 8, 2, "little")


def screen_with(content: Content, at: int, screen: tuple[int, int]) -> tuple[int, int]:
    """Return the screen, extended like in browsers to the first frame, whose descriptor is `at`."""
    left, top, width, height = (number(content, at + i, 2, "little") for i in (0, 2, 4, 6))
    return max(screen[0], left + width), max(screen[1], top + height)


def blocks(content: Content) -> Iterator[tuple[bytes, int, int]]:
    """Yield the introducer, the offset after it, and the end of each block before the trailer.

    After a complete frame, like in browsers, an unknown introducer ends the file as well.
    """
    left, has_frame = _MOST_SUB_BLOCKS, False
    at = 13 + color_table_bytes(take(content, 10, 3)[0])
    for _ in range(_MOST_BLOCKS):
        introducer = content[at : at + 1]
        if introducer == _TRAILER or (has_frame and introducer not in _INTRODUCERS):
            return
        at += 1
        start = at
        if introducer == EXTENSION:
            _check_extension(content, at, has_frame=has_frame)
            at, left = _skip_sub_blocks(content, at + 1, left)
        elif introducer == IMAGE:
            at, left = _skip_sub_blocks(content, at + _frame_header_bytes(content, at), left)
            has_frame = True
        elif introducer != _PADDING:  # some encoders add a zero byte, which browsers skip
            reason = "it has an unknown block" if introducer else "it is cut short"
            raise MalformedImageError(reason)
        if left < 0:
            raise MalformedImageError(f"it has more than {_MOST_SUB_BLOCKS} sub-blocks")
        yield introducer, start, at
    raise MalformedImageError(f"it has more than {_MOST_BLOCKS} blocks")


def _check_extension(content: Content, at: int, *, has_frame: bool) -> None:
    """Refuse the extensions with which no browser shows the first frame."""
    kind, length = take(content, at, 2)
    if not length and kind != _COMMENT:
        raise MalformedImageError("it has an empty extension")
    is_control = kind == _GRAPHIC_CONTROL and not has_frame
    if is_control and (length != _CONTROL_BYTES or take(content, at + 6, 1) != b"\0"):
        raise MalformedImageError("a graphic control extension has a wrong length")


def _skip_sub_blocks(content: Content, at: int, left: int) -> tuple[int, int]:
    """Return the offset after the sub-blocks, and how many more the file may have."""
    try:
        while left >= 0 and (length := content[at]):
            at += length + 1
            left -= 1
    except IndexError:
        raise MalformedImageError("it is cut short") from None
    return at + 1, left


def _frame_header_bytes(content: Content, at: int) -> int:
    """Return the bytes of the image descriptor, local color table and code size together."""
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
