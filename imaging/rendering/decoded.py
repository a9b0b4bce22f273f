"""Decode a picture into a mode that can be averaged, at a fraction of its size if possible."""

import functools
import math
from collections.abc import Callable, Sequence
from typing import IO

from PIL import Image, ImageChops, ImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile

from imaging.codecs import libwebp
from imaging.rendering.colours import averageable
from imaging.rendering.sizes import Region, Size
from imaging.stills.still import Still

# Pillow's raw modes that read the high or the low byte of 16-bit samples
_DEEP_RGB, _DEEP_RGB_LOW = "RGB;16B", "RGB;16L"
_DEEP_GREY_ALPHA = "LA;16B"  # which Pillow reads as RGBA
# In larger pictures only the high bytes of a transparent 16-bit colour are compared: comparing the
# low bytes takes a second decoding.
_EXACT_KEY_PIXELS = 16_000_000
# Decoders scale to this multiple of the size of the variant, and Lanczos does the rest. libjpeg
# can only halve a size, up to three times, so it may stay larger.
_FACTOR, _FACTOR_IF_LARGE_JPEG = 2.0, 1.5
_LARGE_PIXELS = 1_000_000
# Pillow copies what a decoder leaves of each block. With blocks of 64 KB, its default, a PNG takes
# 6 % more CPU.
_BLOCK_BYTES = 1024 * 1024

_Draft = tuple[Image.Image, float, float]
"""A decoded picture, and its width and height as fractions of the whole ones."""


def decoded(
    source: Still, image_format: str, region: Region, target: Size
) -> tuple[Image.Image, Region]:
    """Return the picture on its canvas, and where `region`, which becomes `target`, lies on it.

    Raises MalformedImageError, MemoryError or the errors of Pillow.
    """
    is_large_jpeg = image_format == "jpeg" and math.prod(source.canvas) > _LARGE_PIXELS
    factor = _FACTOR_IF_LARGE_JPEG if is_large_jpeg else _FACTOR
    min_size = _min_size(source.canvas, region, target, factor)
    picture, across, down = _DECODERS[image_format](source, min_size)
    if across == down == 1 and picture.size != source.canvas:
        picture = _on_canvas(picture, source)
    left, top, right, bottom = region
    right, bottom = right * across, bottom * down
    # The last column and row of a draft may be partly padding.
    right, bottom = min(right, picture.width), min(bottom, picture.height)
    return picture, (left * across, top * down, right, bottom)


def _min_size(size: Size, region: Region, target: Size, factor: float) -> Size:
    """Return the smallest size of the whole picture from which Lanczos may make `target`."""
    across = factor * target[0] / (region[2] - region[0])
    down = factor * target[1] / (region[3] - region[1])
    return int(size[0] * across) + 1, int(size[1] * down) + 1


def _by_libwebp(source: Still, min_size: Size) -> _Draft:
    width, height = source.canvas
    with source.open() as file:
        content = file.read()
    is_draft = source.scales and min_size[0] < width and min_size[1] < height
    size, pixels = libwebp.decode(content, min_size if is_draft else None)
    if source.is_opaque:
        picture = Image.frombytes("RGB", size, pixels, "raw", "RGBX")
    else:
        picture = Image.frombuffer("RGBA", size, pixels, "raw", "RGBA", 0, 1)
    return (picture, size[0] / width, size[1] / height) if is_draft else (picture, 1, 1)


def _by_pillow(
    opener: Callable[[IO[bytes]], ImageFile.ImageFile], source: Still, min_size: Size
) -> _Draft:
    is_coarse = all(8 * few <= many for few, many in zip(min_size, source.canvas, strict=True))
    with source.open(coarse=is_coarse) as file, opener(file) as image:
        image.decodermaxblock = source.size_bytes if source.at_once else _BLOCK_BYTES
        drafted = image.draft(None, min_size)
        scale = drafted[1][2] / source.canvas[0] if drafted else 1
        return _pixels(image, source), scale, scale


# Not `Image.open`, which opens a JPEG with several pictures as MPO.
_DECODERS: dict[str, Callable[[Still, Size], _Draft]] = {
    "jpeg": functools.partial(_by_pillow, JpegImageFile),
    "png": functools.partial(_by_pillow, PngImageFile),
    "gif": functools.partial(_by_pillow, GifImageFile),
    "webp": _by_libwebp,
}


def _pixels(image: ImageFile.ImageFile, source: Still) -> Image.Image:
    """Return the pixels of an opened file in a mode that can be averaged."""
    stored = image.tile[0].args if image.tile else ""
    image.load()
    if stored == _DEEP_GREY_ALPHA:
        return image.convert("LA")
    key = source.colour_key
    if key is None or stored != _DEEP_RGB:
        return averageable(image, key)
    is_key = _where_equal(image, [sample >> 8 for sample in key])
    if is_key.getbbox() is None:
        return image
    if math.prod(image.size) <= _EXACT_KEY_PIXELS:
        is_key = ImageChops.darker(is_key, _where_low_bytes_equal(source, key))
    picture = image.convert("RGBA")
    picture.putalpha(ImageChops.invert(is_key))
    return picture


def _where_low_bytes_equal(source: Still, key: tuple[int, ...]) -> Image.Image:
    """Compare the low bytes of 16-bit samples. Pillow decodes one byte of a sample at a time."""
    with source.open() as file, PngImageFile(file) as image:
        image.tile = [image.tile[0]._replace(args=_DEEP_RGB_LOW)]
        image.load()
        return _where_equal(image, [sample & 255 for sample in key])


def _where_equal(image: Image.Image, samples: Sequence[int]) -> Image.Image:
    """Return a mask: 255 where every band equals its sample, else 0."""
    bands = [
        band.point([255 * (value == sample) for value in range(256)])
        for band, sample in zip(image.split(), samples, strict=True)
    ]
    return functools.reduce(ImageChops.darker, bands)


def _on_canvas(picture: Image.Image, source: Still) -> Image.Image:
    """Return the picture on its transparent canvas."""
    canvas = Image.new("LA" if picture.mode in {"L", "LA"} else "RGBA", source.canvas)
    canvas.paste(picture, source.place)
    return canvas
