"""The first frame of a GIF, with its transparency and its place on the screen."""

import io

import pytest
from PIL import Image

from imaging.containers.content import MalformedImageError
from imaging.stills.gif import still
from tests.support import pictures
from tests.support.containers import gif_file, gif_frame


def minimal(content: bytes) -> Image.Image:
    """Return the picture in the minimal file."""
    with still(content).open() as file:
        return Image.open(io.BytesIO(file.read()))


def test_pixels() -> None:
    """The minimal file has the pixels of the first frame, and no other frame."""
    whole = pictures.gif(24, 16, frames=3)
    picture = minimal(whole)
    assert getattr(picture, "n_frames", 1) == 1
    assert (
        picture.convert("RGB").tobytes() == Image.open(io.BytesIO(whole)).convert("RGB").tobytes()
    )


@pytest.mark.parametrize(("flags", "transparent"), [(0, False), (1, True), (0x1C, False)])
def test_transparency(flags: int, *, transparent: bool) -> None:
    """The transparent index counts if the graphic control before the frame sets its flag."""
    control = b"!\xf9\4" + bytes([flags, 0, 0, 1, 0])
    assert ("transparency" in minimal(gif_file(control, gif_frame(1, 1))).info) is transparent


def test_place() -> None:
    """A small frame keeps its place; one beyond the screen extends it."""
    found = still(gif_file(gif_frame(2, 1, at=(3, 4)), width=10, height=4))
    assert (found.canvas, found.place) == ((10, 5), (3, 4))


def test_no_frame() -> None:
    """A file without a frame has no first picture."""
    with pytest.raises(MalformedImageError):
        still(gif_file(b"!\xfe\3abc\0"))
