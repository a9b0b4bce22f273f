"""The size of a variant, and the part of its picture that it shows."""

from typing import Protocol

Size = tuple[int, int]
Region = tuple[float, float, float, float]
"""Left, top, right and bottom in pixels, possibly fractional."""


class Box(Protocol):
    """The box into which a variant fits, or which it fills with `crop`."""

    @property
    def width(self) -> int:
        """In pixels."""

    @property
    def height(self) -> int:
        """In pixels."""

    @property
    def crop(self) -> bool:
        """Whether the variant fills the box."""


def target_size(shown_size: Size, box: Box) -> Size:
    """Return the width and height of the variant of a picture that is displayed in `shown_size`.

    A variant is never larger than its picture. If the picture does not fill the box, its crop has
    the shape of the box at a smaller size: 320x320-crop of 200x1000 is 200x200.
    """
    width, height = shown_size
    if box.crop and width >= box.width and height >= box.height:
        return box.width, box.height
    inner = (box.width, box.height) if box.crop else shown_size
    outer = shown_size if box.crop else (min(box.width, width), min(box.height, height))
    return _fit(inner, outer)


def shown_region(shown_size: Size, box: Box) -> Region:
    """Return the part of the picture that the variant shows: all of it, or its centre."""
    width, height = shown_size
    if not box.crop:
        return 0, 0, width, height
    part_width, part_height = target_size(shown_size, box)
    if width > box.width and height > box.height:
        part = min(width / box.width, height / box.height)
        # Rounding must not make these negative.
        left = max(0.0, (width - part * box.width) / 2)
        top = max(0.0, (height - part * box.height) / 2)
        return left, top, width - left, height - top
    # Without scaling, the part starts at a whole pixel: half a pixel would blur it.
    first_column, first_row = (width - part_width) // 2, (height - part_height) // 2
    return first_column, first_row, first_column + part_width, first_row + part_height


def _fit(shape: Size, box: Size) -> Size:
    """Return the largest size of this shape within the box, rounded, with sides of at least 1.

    Integer arithmetic gives the same size on every machine.
    """
    (wide, high), (width, height) = shape, box
    if wide * height >= high * width:
        return width, max(1, (2 * high * width + wide) // (2 * wide))
    return max(1, (2 * wide * height + high) // (2 * high)), height
