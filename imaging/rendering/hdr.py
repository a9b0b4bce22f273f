"""HDR pictures (PQ and HLG, ITU-R BT.2100) in sRGB, as Chromium shows them on a standard display.

Linear light is converted to BT.2020 primaries. The tone curve is applied to the brightest
component, and all three are scaled by the same factor.
"""

import functools
import math
from bisect import bisect
from collections.abc import Callable, Sequence

from PIL import Image, ImageFilter

from imaging.rendering.profiles import NAMED_PRIMARIES, conversion, product
from imaging.rendering.transfer_functions import encode_srgb

_REFERENCE_WHITE_NITS, _BRIGHTEST_NITS = 203, 1000
_LUMINANCE = (0.2627, 0.6780, 0.0593)  # of BT.2020
_BT709, _BT2020 = NAMED_PRIMARIES[1], NAMED_PRIMARIES[9]
_TO_2020 = {number: conversion(named, _BT2020) for number, named in NAMED_PRIMARIES.items()}
_FROM_2020 = conversion(_BT2020, _BT709)
# Chromium's tone curve, measured with greys: light in units of the reference white, and the light
# that the display shows.
_LIGHT = (0, 1, 1.1, 1.25, 1.5, 1.75, 2, 2.5, 3, 3.5, 4, 4.5, 4.926)
_SHOWN = (0, 0.5, 0.5424, 0.5915, 0.6581, 0.702, 0.7427, 0.8133, 0.8625, 0.9087, 0.9464, 0.9765, 1)
# The table that Pillow interpolates has this many entries along each axis.
_ENTRIES = 25

_Colour = Sequence[float]


def _from_pq(samples: _Colour) -> list[float]:
    """Decode Perceptual Quantization (SMPTE ST 2084) to nits."""
    roots = [sample ** (1 / 78.84375) for sample in samples]
    light = [max(root - 0.8359375, 0) / (18.8515625 - 18.6875 * root) for root in roots]
    return [10_000 * value ** (1 / 0.1593017578125) for value in light]


def _from_hlg(samples: _Colour) -> list[float]:
    """Decode Hybrid Log-Gamma to the nits of a display of 1000 nits."""
    scene = [
        sample**2 / 3
        if sample <= 0.5
        else (math.exp((sample - 0.55991073) / 0.17883277) + 0.28466892) / 12
        for sample in samples
    ]
    luminance = sum(weight * value for weight, value in zip(_LUMINANCE, scene, strict=True))
    return [_BRIGHTEST_NITS * value * luminance**0.2 for value in scene]


TRANSFERS: dict[int, Callable[[_Colour], list[float]]] = {16: _from_pq, 18: _from_hlg}
"""The transfer functions by their number in ITU-T H.273, table 3"""


def to_srgb(image: Image.Image, primaries: int, transfer: int) -> Image.Image:
    """Convert an RGB or grey picture with these primaries and this transfer function (H.273)."""
    if image.mode == "L":
        colours = (_shown([grey / 255] * 3, 9, transfer) for grey in range(256))
        return image.point([round(255 * colour[1]) for colour in colours])
    return image.filter(_table(primaries, transfer))


@functools.lru_cache(maxsize=4)
def _table(primaries: int, transfer: int) -> ImageFilter.Color3DLUT:
    """Return the table that converts colours; building it takes 0.2 s."""
    return ImageFilter.Color3DLUT.generate(
        _ENTRIES, lambda *samples: _shown(samples, primaries, transfer)
    )


def _shown(samples: _Colour, primaries: int, transfer: int) -> tuple[float, ...]:
    """Return a colour in sRGB."""
    light = TRANSFERS[transfer](samples)
    wide = product(_TO_2020[primaries], [nits / _REFERENCE_WHITE_NITS for nits in light])
    brightest = max(wide)
    gain = _tone(brightest) / brightest if brightest > 0 else 0
    shown = product(_FROM_2020, [gain * value for value in wide])
    return tuple(encode_srgb(min(1.0, max(0.0, value))) for value in shown)


def _tone(light: float) -> float:
    if light >= _LIGHT[-1]:
        return 1
    after = bisect(_LIGHT, light)
    share = (light - _LIGHT[after - 1]) / (_LIGHT[after] - _LIGHT[after - 1])
    return _SHOWN[after - 1] + share * (_SHOWN[after] - _SHOWN[after - 1])
