"""A GIF has frames, which may be smaller or larger than its screen."""

import pytest

from imaging.containers.content import MalformedImageError
from imaging.containers.gif import color_table_bytes, walk
from imaging.containers.limits import PixelLimits
from tests.support import pictures
from tests.support.containers import gif_file, gif_frame

PADDING, COMMENT = b"\0", b"!\xfe\3abc\0"


def limits() -> PixelLimits:
    """Return limits that the files of these tests do not exceed."""
    return PixelLimits(frame=1000, animation=200_000)


def test_frames() -> None:
    """Each frame has its size and the offsets of its compressed pixels."""
    content = gif_file(COMMENT, gif_frame(2, 1), PADDING, gif_frame(1, 3), width=2, height=3)
    outline = walk(content, limits())
    assert [(frame.width, frame.height) for frame in outline.frames] == [(2, 1), (1, 3)]
    assert {content[frame.start : frame.end] for frame in outline.frames} == {b"\x02\x44\x01\0"}


def test_interlaced() -> None:
    """Interlaced frames are decoded as such."""
    for interlace in (0, 1):
        content = pictures.encoded(pictures.picture(24, 16), "GIF", interlace=interlace)
        assert walk(content, limits()).frames[0].interlaced == bool(interlace)


@pytest.mark.parametrize(
    ("frame", "shown"),
    [
        (gif_frame(2, 2), (10, 10)),
        (gif_frame(2, 2, at=(9, 9)), (11, 11)),
        (gif_frame(12, 3), (12, 10)),
    ],
)
def test_screen(frame: bytes, shown: tuple[int, int]) -> None:
    """A first frame that exceeds the screen extends it, as in browsers."""
    assert walk(gif_file(frame, width=10, height=10), limits()).shown == shown


def test_later_frames() -> None:
    """Later frames do not extend the screen."""
    frames = gif_frame(1, 1), gif_frame(20, 20)
    assert walk(gif_file(*frames, width=10, height=10), limits()).shown == (10, 10)


@pytest.mark.parametrize(("flags", "size"), [(0x00, 0), (0x07, 0), (0x80, 6), (0x87, 768)])
def test_color_tables(flags: int, size: int) -> None:
    """The flags announce a table of 2 to 256 colours of three bytes, or none."""
    assert color_table_bytes(flags) == size


@pytest.mark.parametrize(
    ("block", "reason"),
    [
        (b"", "no frame"),
        (b"?", "unknown block"),
        (b"!\xf9\0", "empty extension"),
        (b"!\xf9\5" + bytes(6), "wrong length"),
        (gif_frame(1, 1, data=b"\x0d\x01\0\0"), "code size"),
        (gif_frame(0, 1), "no pixels"),
    ],
)
def test_refused(block: bytes, reason: str) -> None:
    """A file whose first frame no browser shows is refused."""
    with pytest.raises(MalformedImageError, match=reason):
        walk(gif_file(block), limits())
