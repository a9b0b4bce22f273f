"""The pictures of the variants, and how close a variant comes to what it should look like."""

import io
import random
from collections.abc import Iterator
from functools import cache
from itertools import product
from statistics import fmean
from typing import Any

from PIL import Image, ImageDraw, ImageFilter, ImageMath, ImageOps

PICTURES: dict[str, tuple[str, str, tuple[int, int], dict[str, Any]]] = {
    "12 MP JPEG": ("jpg", "RGB", (4000, 3000), {"format": "JPEG", "quality": 90}),
    "2 MP PNG": ("png", "RGBA", (1600, 1250), {"format": "PNG"}),
    "1 MP WebP": ("webp", "RGB", (1200, 900), {"format": "WEBP", "quality": 85}),
}
"""The extension, mode and size of each picture, and how it is encoded."""

_DETAIL, _COLOURS = 11, 6  # octaves of brightness and of colour
_FADING = 0.75  # from one octave to the next
_SHAPES = 80
_BLOCK = 8  # pixels
_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2  # constants of SSIM


@cache
def picture(name: str) -> bytes:
    """Return the file of a picture."""
    file = io.BytesIO()
    _draw(name).save(file, **PICTURES[name][3])
    return file.getvalue()


@cache
def _draw(name: str) -> Image.Image:
    """Draw noise that has the scales of a photograph, mostly in its brightness, and hard edges."""
    _, mode, size, _ = PICTURES[name]
    chance = random.Random(0)  # noqa: S311
    planes = [_noise(chance, size, octaves) for octaves in (_DETAIL, _COLOURS, _COLOURS)]
    colours = (plane.point(lambda value: 96 + value // 4) for plane in planes[1:])
    canvas = Image.merge("YCbCr", (planes[0], *colours)).convert("RGB")
    draw = ImageDraw.Draw(canvas)
    for _ in range(_SHAPES):
        x, y = chance.randrange(size[0]), chance.randrange(size[1])
        radius, colour = chance.randrange(size[0] // 20), tuple(chance.randbytes(3))
        draw.ellipse((x, y, x + radius, y + radius), outline=colour, width=size[0] // 400)
    if mode == "RGBA":
        canvas.putalpha(_vignette(size))
    return canvas


def _noise(chance: random.Random, size: tuple[int, int], octaves: int) -> Image.Image:
    """Return the sum of noise of so many scales, each finer and weaker than the one before."""
    canvas, weight = Image.new("L", size), 0.0
    for octave in range(octaves):
        cells = (4 << octave, 3 << octave)
        noise = Image.frombytes("L", cells, chance.randbytes(cells[0] * cells[1]))
        weight += _FADING**octave
        layer = noise.resize(size, Image.Resampling.BICUBIC)
        canvas = Image.blend(canvas, layer, _FADING**octave / weight)
    return ImageOps.autocontrast(canvas, cutoff=1)


def _vignette(size: tuple[int, int]) -> Image.Image:
    alpha = Image.new("L", size)
    ImageDraw.Draw(alpha).ellipse((0, 0, *size), fill=255)
    return alpha.filter(ImageFilter.GaussianBlur(40))


def similarity(name: str, variant: bytes) -> float:
    """Return the SSIM of a variant to the whole picture in its size by Lanczos; 1 is equal.

    It is the mean over the three colours and over blocks of 8 by 8 pixels that half overlap. A
    transparent picture is compared on white and on black.
    """
    with Image.open(io.BytesIO(variant)) as opened:
        seen = opened.convert("RGBA")
    with Image.open(io.BytesIO(picture(name))) as opened:
        whole = opened.convert("RGBA").convert("RGBa")
    wanted = whole.resize(seen.size, Image.Resampling.LANCZOS).convert("RGBA")
    grounds = ("white", "black") if PICTURES[name][1] == "RGBA" else ("white",)
    return fmean(_ssim(_on(wanted, ground), _on(seen, ground)) for ground in grounds)


def _on(image: Image.Image, ground: str) -> Image.Image:
    return Image.alpha_composite(Image.new("RGBA", image.size, ground), image).convert("RGB")


def _ssim(one: Image.Image, other: Image.Image) -> float:
    values = []
    width, height = (_BLOCK * ((side - _BLOCK // 2) // _BLOCK) for side in one.size)
    for left, top in product((0, _BLOCK // 2), repeat=2):
        box = (left, top, left + width, top + height)
        for a, b in zip(_planes(one, box), _planes(other, box), strict=True):
            values.append(_ssim_of_blocks(a, b))
    return fmean(values)


def _planes(image: Image.Image, box: tuple[int, int, int, int]) -> Iterator[Image.Image]:
    for plane in image.crop(box).split():
        yield plane.convert("F")


def _ssim_of_blocks(a: Image.Image, b: Image.Image) -> float:
    """Wang et al., "Image quality assessment: from error visibility to structural similarity"."""
    products = (
        ImageMath.lambda_eval(lambda of: of["x"] * of["y"], x=x, y=y)
        for x, y in ((a, a), (b, b), (a, b))
    )
    means = [plane.reduce(_BLOCK) for plane in (a, b, *products)]
    values = zip(*(mean.get_flattened_data() for mean in means), strict=True)
    return fmean(
        (2 * ma * mb + _C1)
        * (2 * (ab - ma * mb) + _C2)
        / ((ma * ma + mb * mb + _C1) * (aa + bb - ma * ma - mb * mb + _C2))
        for ma, mb, aa, bb, ab in values
    )
