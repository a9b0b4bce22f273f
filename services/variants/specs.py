"""How large a variant becomes, which part it shows, and which one a request asks for."""

from dataclasses import dataclass

from config import VariantSpec

Size = tuple[int, int]
Region = tuple[float, float, float, float]
"""Left, top, right and bottom in pixels, which need not be whole."""

# Of an animation the first frame is shown, and that without loss.
_OWN_KIND = {"jpg": "jpg", "jpeg": "jpg", "png": "png", "gif": "png", "webp": "webp"}


def target_size(shown_size: Size, spec: VariantSpec) -> Size:
    """Return width and height of the variant of a picture that is shown in `shown_size`.

    A variant is never larger than its picture. A crop of a picture that does not fill the box
    has the box's shape as far as the pixels reach: 320x320-crop of 200x1000 is 200x200.
    """
    width, height = shown_size
    if spec.crop and width >= spec.width and height >= spec.height:
        return spec.width, spec.height
    inner = (spec.width, spec.height) if spec.crop else shown_size
    outer = shown_size if spec.crop else (min(spec.width, width), min(spec.height, height))
    return _fit(inner, outer)


def shown_region(shown_size: Size, spec: VariantSpec) -> Region:
    """Return the part of the picture that the variant shows: all, or the centre of its shape."""
    width, height = shown_size
    if not spec.crop:
        return 0, 0, width, height
    part_width, part_height = target_size(shown_size, spec)
    if width > spec.width and height > spec.height:
        part = min(width / spec.width, height / spec.height)
        left, top = (width - part * spec.width) / 2, (height - part * spec.height) / 2
        return left, top, width - left, height - top
    # Not scaled, so it begins at a whole pixel: half a pixel aside would blur it.
    first_column, first_row = (width - part_width) // 2, (height - part_height) // 2
    return first_column, first_row, first_column + part_width, first_row + part_height


def _fit(shape: Size, box: Size) -> Size:
    """Return the largest size of that shape within the box; each side is rounded, and 1 at least.

    In whole numbers, so that the same picture has the same size on every machine.
    """
    (wide, high), (width, height) = shape, box
    if wide * height >= high * width:
        return width, max(1, (2 * high * width + wide) // (2 * wide))
    return max(1, (2 * wide * height + high) // (2 * high)), height


@dataclass(frozen=True, slots=True)
class VariantChoice:
    """Which variant a request asks for: a spec, and an encoding.

    An empty `encoding_asked` leaves the encoding to the image: its own kind where that is among
    `encodings`, of which there are four at most, and else the first of them.
    """

    spec: VariantSpec
    encoding_asked: str
    encodings: tuple[str, ...]

    def specs(self) -> list[str]:
        """Return how the variants are stored that may be the answer, such as `320.webp`."""
        encodings = [self.encoding_asked] if self.encoding_asked else self.encodings
        return [f"{self.spec}.{encoding}" for encoding in encodings]

    def encoding(self, extension: str) -> str:
        """Return the encoding for an image with that extension."""
        if self.encoding_asked:
            return self.encoding_asked
        own = _OWN_KIND[extension]
        return own if own in self.encodings else self.encodings[0]
