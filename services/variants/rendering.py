"""A picture made smaller: decoded, resized, turned the right way up, in sRGB, and encoded anew.

Nothing of the original's metadata (Exif, XMP, comments, profile) is in the result. Of an animation
the first frame counts. The same file and spec give the same bytes, with the same libraries.
"""

import io
from collections.abc import Callable
from typing import IO, Any

from PIL import ExifTags, Image
from PIL.GifImagePlugin import GifImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from config import VariantSpec
from services.containers.content import MalformedImageError
from services.variants.colours import on_white, resizable, to_srgb
from services.variants.specs import Region, Size, shown_region, target_size

# Not by `Image.open`, which takes a JPEG of several pictures for an MPO.
_OPENERS: dict[str, Callable[[IO[bytes]], Image.Image]] = {
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


def render(
    content: IO[bytes], image_format: str, spec: VariantSpec, encoding: str, output: IO[bytes]
) -> Size:
    """Write the variant `spec` of a picture to `output`; return its width and height.

    `content` is a file of that format (`jpeg`, `png`, `gif`, `webp`), `encoding` an ending of
    `specs.FORMATS`. Raises MalformedImageError where the picture cannot be decoded, or MemoryError.
    """
    try:
        with _OPENERS[image_format](content) as image:
            picture = _resized(image, spec)
    except MemoryError:
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


def _resized(image: Image.Image, spec: VariantSpec) -> Image.Image:
    profile = image.info.get("icc_profile")
    orientation = _orientation(image)
    turned = orientation in _QUARTER_TURNS
    shown = _swapped(image.size) if turned else image.size
    target = target_size(shown, spec)
    region = _stored_region(shown_region(shown, spec), shown, orientation)
    stored_target = _swapped(target) if turned else target
    full_width, full_height = image.size
    image.draft(None, _least_size(image.size, region, stored_target))
    region = (
        region[0] * image.width / full_width,
        region[1] * image.height / full_height,
        region[2] * image.width / full_width,
        region[3] * image.height / full_height,
    )
    picture = resizable(image)
    if stored_target != picture.size or region != (0, 0, *picture.size):
        picture = picture.resize(stored_target, Image.Resampling.LANCZOS, region)
    picture = to_srgb(picture, profile)
    if orientation in _TURNS:
        picture = picture.transpose(_TURNS[orientation])
    return picture if picture is not image else image.copy()


def _orientation(image: Image.Image) -> int:
    """Return the orientation by Exif, 1 where there is none that can be read."""
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # noqa: BLE001 - whatever Exif is made of, the picture is shown
        return 1


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
