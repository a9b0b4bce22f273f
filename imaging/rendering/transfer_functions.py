"""Transfer functions from samples to light: those of ITU-T H.273, and sRGB.

Light is linear, from 0 to 1, the white of a standard display.
"""

import functools
import math
from collections.abc import Callable

Transfer = Callable[[float], float]
"""From a sample, 0 to 1, to light"""

# Chromium's mapping of HDR to a standard display: light is scaled up to the knee, and compressed
# from there to the brightest highlight.
_WHITE_NITS, _BRIGHTEST_NITS = 400, 1000
_KNEE, _FALLOFF = 0.3, 0.8


def power(exponent: float) -> Transfer:
    """Return the transfer function that raises the sample to a power."""
    return lambda sample: sample**exponent


def srgb(sample: float) -> float:
    """Decode sRGB (IEC 61966-2-1)."""
    return sample / 12.92 if sample <= 0.04045 else ((sample + 0.055) / 1.055) ** 2.4


def to_srgb(light: float) -> float:
    """Encode sRGB (IEC 61966-2-1)."""
    return 12.92 * light if light <= 0.0031308 else 1.055 * light ** (1 / 2.4) - 0.055


def pq(sample: float) -> float:
    """Decode Perceptual Quantization (SMPTE ST 2084) for a standard display."""
    root = sample ** (1 / 78.84375)
    light = max(root - 0.8359375, 0) / (18.8515625 - 18.6875 * root)
    return _on_standard_display(10_000 * light ** (1 / 0.1593017578125))


def hlg(sample: float) -> float:
    """Decode Hybrid Log-Gamma (ITU-R BT.2100) for a standard display."""
    if sample <= 0.5:
        scene = sample * sample / 3
    else:
        scene = (math.exp((sample - 0.55991073) / 0.17883277) + 0.28466892) / 12
    return _on_standard_display(_BRIGHTEST_NITS * scene**1.2)


def _on_standard_display(nits: float) -> float:
    light = nits / _WHITE_NITS
    if light <= _KNEE:
        return light
    brightest = _BRIGHTEST_NITS / _WHITE_NITS

    def reach(light: float) -> float:
        return 1 - math.exp((_KNEE - light) / _FALLOFF)

    return _KNEE + (1 - _KNEE) * min(1.0, reach(light) / reach(brightest))


# Like Chromium, which displays BT.709 video with gamma 2.4.
NAMED: dict[int, Transfer] = {
    **dict.fromkeys((1, 6, 14, 15), power(2.4)),
    4: power(2.2),
    5: power(2.8),
    8: power(1),
    13: srgb,
    16: pq,
    18: hlg,
}
"""The transfer functions by their number in ITU-T H.273, table 3"""


@functools.lru_cache(maxsize=8)
def samples_in_srgb(transfer: Transfer) -> list[int]:
    """Return the sRGB sample of each eight-bit sample."""
    light = (min(1.0, transfer(sample / 255)) for sample in range(256))
    return [round(255 * to_srgb(value)) for value in light]
