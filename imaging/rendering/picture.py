"""A picture made smaller: decoded, resized, turned the right way up, in sRGB, and encoded anew.

Nothing of the original's metadata (Exif, XMP, comments, profile) is in the result. Of an animation
the first frame counts. The same file and spec give the same bytes, with the same libraries.
"""

import io
import sys
from collections.abc import Callable
from typing import IO, Any

from PIL import Image, ImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from imaging.containers.content import MalformedImageError
from imaging.containers.exif import read_orientation
from imaging.rendering.colours import on_white, resizable, to_srgb, transparent_colour
from imaging.rendering.sizes import Box, Region, Size, shown_region, target_size

# Not by `Image.open`, which takes a JPEG of several pictures for an MPO.
_OPENERS: dict[str, Callable[[IO[bytes]], ImageFile.ImageFile]] = {
    "jpeg": JpegImageFile,
    "png": PngImageFile,
    "gif": GifImageFile,
    "webp": WebPImageFile,
}
_ENCODINGS: dict[str, dict[str, Any]] = {
    "jpg": {"format": "JPEG", "quality": 80, "optimize": True},
    "png": {"format": "PNG"},
    "webp": {"format": "WEBP", "quality": 75, "method": 4},
    "avif": {"format": "AVIF", "quality": 50, "speed": 8},
}
# How a stored picture becomes the shown one (Exif 2.32 section 4.6.4, Orientation).
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_QUARTER_TURNS = range(5, 9)
# Decoding to a fraction averages roughly: half of the detail is left for Lanczos.
_DRAFT_FACTOR = 2


def render_picture(
    content: IO[bytes], image_format: str, box: Box, encoding: str, output: IO[bytes]
) -> Size:
    """Write the variant of a picture for `box` to `output`; return its width and height.

    `content` is a file of that format (`jpeg`, `png`, `gif`, `webp`), `encoding` is `jpg`, `png`,
    `webp` or `avif`. Raises MalformedImageError where the picture cannot be decoded, or where a
    library does not say that it lacks memory; or MemoryError.
    """
    try:
        with _OPENERS[image_format](content) as image:
            if image.width * image.height > (Image.MAX_IMAGE_PIXELS or sys.maxsize):
                raise MalformedImageError("it has too many pixels")
            picture = _resized(image, box)
    except (MemoryError, MalformedImageError):
        raise
    # Pillow raises whatever its parsing runs into: SyntaxError, OSError, struct.error, ...
    except Exception as exc:
        raise MalformedImageError("its pixels cannot be decoded") from exc
    if encoding == "jpg":
        picture = on_white(picture)
    picture.info.clear()  # encoders write what they find there
    encoded = io.BytesIO()
    picture.save(encoded, **_ENCODINGS[encoding])
    output.write(encoded.getbuffer())
    return picture.size


def _resized(image: ImageFile.ImageFile, box: Box) -> Image.Image:
    info = dict(image.info)
    orientation = read_orientation(info.get("exif", b""))
    turned = orientation in _QUARTER_TURNS
    shown = _swapped(image.size) if turned else image.size
    target = target_size(shown, box)
    region = _stored_region(shown_region(shown, box), shown, orientation)
    stored_target = _swapped(target) if turned else target
    width = image.width
    if drafted := image.draft(None, _least_size(image.size, region, stored_target)):
        # Of its last column and row some part may be filling.
        scale, (left, top, right, bottom) = drafted[1][2] / width, region
        region = (
            *(left * scale, top * scale),
            *(min(right * scale, image.width), min(bottom * scale, image.height)),
        )
    picture = _first_frame(image)
    if stored_target != picture.size or region != (0, 0, *picture.size):
        picture = picture.resize(stored_target, Image.Resampling.LANCZOS, region)
    picture = to_srgb(picture, info)
    if orientation in _TURNS:
        picture = picture.transpose(_TURNS[orientation])
    return picture if picture is not image else image.copy()


def _first_frame(image: ImageFile.ImageFile) -> Image.Image:
    """Return the picture decoded; round a frame smaller than its GIF's screen is nothing."""
    transparent, screen = transparent_colour(image), (0, 0, *image.size)
    place = image.tile[0].extents if image.tile else screen
    if place in {None, screen}:
        return resizable(image, transparent)
    page = Image.new("RGBA", image.size)
    page.paste(resizable(image.crop(place), transparent), place)
    return page


def _least_size(size: Size, region: Region, target: Size) -> Size:
    """Return to what size a picture may be decoded whose `region` becomes `target`."""
    across = _DRAFT_FACTOR * target[0] / (region[2] - region[0])
    down = _DRAFT_FACTOR * target[1] / (region[3] - region[1])
    return int(size[0] * across) + 1, int(size[1] * down) + 1


def _stored_region(region: Region, shown: Size, orientation: int) -> Region:
    """Return where a part of the shown picture lies in the stored one."""
    left, top, right, bottom = region
    if orientation in {2, 3, 7, 6}:
        left, right = shown[0] - right, shown[0] - left
    if orientation in {3, 4, 7, 8}:
        top, bottom = shown[1] - bottom, shown[1] - top
    if orientation in _QUARTER_TURNS:
        return top, left, bottom, right
    return left, top, right, bottom


def _swapped(size: Size) -> Size:
    return size[1], size[0]
