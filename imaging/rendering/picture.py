"""Render a picture at a smaller size: decode, resize, convert to sRGB, rotate and encode it.

The variant has no metadata of the original (Exif, XMP, comments, profile). An animation becomes its
first frame. With the same libraries, the same file and box give the same bytes.
"""

import math
import sys
from typing import IO

from PIL import Image

from imaging.containers.content import Content, MalformedImageError
from imaging.containers.exif import SIDEWAYS
from imaging.rendering.colours import on_white, to_srgb
from imaging.rendering.decoded import decoded
from imaging.rendering.encodings import ENCODINGS
from imaging.rendering.memory import rendering_bytes
from imaging.rendering.sizes import Box, Region, Size, shown_region, target_size
from imaging.stills.formats import still
from imaging.stills.still import Still

# Compressing more pixels at level 6 takes up to 2.5 s of CPU, at level 3 half of that.
_THOROUGH_PIXELS = 2_000_000
_QUICK_PNG = {"compress_level": 3}
# From the stored to the displayed picture (Exif 2.32 section 4.6.4, Orientation)
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# Averaging before Lanczos is coarse but fast. It leaves twice the size of the variant; for huge
# pictures 1.5 times, which halves the CPU at 2048.
_AVERAGED_PIXELS, _HUGE_PIXELS = 1_000_000, 40_000_000
_GAP, _GAP_IF_HUGE = 2.0, 1.5


def render_picture(
    content: Content,
    image_format: str,
    box: Box,
    encoding: str,
    output: IO[bytes],
    memory: int = sys.maxsize,
) -> Size:
    """Write the variant of a picture for `box` to `output`; return its width and height.

    `image_format` is `jpeg`, `png`, `gif` or `webp`; `encoding` is `jpg`, `png`, `webp` or `avif`.
    Raises MalformedImageError if the picture cannot be decoded or encoded, and MemoryError, before
    decoding, if rendering may take more than `memory` bytes. A lack of memory during rendering can
    raise either.
    """
    try:
        source = still(content, image_format)
        if rendering_bytes(source, box, encoding) > memory:
            raise MemoryError
        picture = _resized(source, image_format, box)
    except (MemoryError, MalformedImageError):
        raise
    # Pillow's parsers raise SyntaxError, OSError, struct.error and others.
    except Exception as exc:
        raise MalformedImageError("its pixels cannot be decoded") from exc
    if encoding == "jpg":
        picture = on_white(picture)
    _encode(picture, encoding, output)
    return picture.size


def _encode(picture: Image.Image, encoding: str, output: IO[bytes]) -> None:
    """Encode a picture. Raises MalformedImageError, even for a lack of memory."""
    options = ENCODINGS[encoding]
    if encoding == "png" and math.prod(picture.size) > _THOROUGH_PIXELS:
        options = options | _QUICK_PNG
    picture.info.clear()  # encoders write it
    try:
        picture.save(output, **options)
    except (OSError, ValueError, RuntimeError) as exc:
        raise MalformedImageError("it cannot be encoded") from exc


def _resized(source: Still, image_format: str, box: Box) -> Image.Image:
    if math.prod(source.canvas) > (Image.MAX_IMAGE_PIXELS or sys.maxsize):
        raise MalformedImageError("it has too many pixels")
    shown = source.shown
    target = target_size(shown, box)
    region = _stored_region(shown_region(shown, box), shown, source.orientation)
    stored_target = target[::-1] if source.orientation in SIDEWAYS else target
    picture, region = decoded(source, image_format, region, stored_target)
    whole: Region = (0, 0, *picture.size)
    if stored_target != picture.size or region != whole:
        gap = _reducing_gap(math.prod(picture.size))
        picture = picture.resize(stored_target, Image.Resampling.LANCZOS, region, gap)
    else:
        picture = picture.copy()  # without the file, in which an encoder would look for frames
    picture = to_srgb(picture, source.colours)
    return picture.transpose(_TURNS[source.orientation]) if source.orientation > 1 else picture


def _reducing_gap(pixels: int) -> float | None:
    """Return the multiple of the target's size to which Pillow averages before Lanczos, if any."""
    if pixels <= _AVERAGED_PIXELS:
        return None
    return _GAP if pixels <= _HUGE_PIXELS else _GAP_IF_HUGE


def _stored_region(region: Region, shown: Size, orientation: int) -> Region:
    """Convert a region of the displayed picture to one of the stored picture."""
    left, top, right, bottom = region
    if orientation in {2, 3, 7, 6}:
        left, right = shown[0] - right, shown[0] - left
    if orientation in {3, 4, 7, 8}:
        top, bottom = shown[1] - bottom, shown[1] - top
    if orientation in SIDEWAYS:
        return top, left, bottom, right
    return left, top, right, bottom
