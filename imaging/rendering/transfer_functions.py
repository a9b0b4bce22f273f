"""Transfer functions from samples to light: sRGB and those of ITU-T H.273.

Light is linear, from 0 to 1, the white of a standard display.
"""

from collections.abc import Callable

Transfer = Callable[[float], float]
"""From a sample, 0 to 1, to light"""


def power(exponent: float) -> Transfer:
    """Return the transfer function that raises the sample to a power."""
    return lambda sample: sample**exponent


def srgb(sample: float) -> float:
    """Decode sRGB (IEC 61966-2-1)."""
    return sample / 12.92 if sample <= 0.04045 else ((sample + 0.055) / 1.055) ** 2.4


def encode_srgb(light: float) -> float:
    """Encode sRGB (IEC 61966-2-1)."""
    return 12.92 * light if light <= 0.0031308 else 1.055 * light ** (1 / 2.4) - 0.055


def _smpte_240m(sample: float) -> float:
    """Decode SMPTE ST 240."""
    return sample / 4 if sample < 0.0913 else ((sample + 0.1115) / 1.1115) ** (1 / 0.45)


def _smpte_428(sample: float) -> float:
    """Decode SMPTE ST 428-1."""
    return 52.37 / 48 * sample**2.6  # type: ignore[no-any-return]


# As Chromium does, which displays BT.709 video with gamma 2.4.
NAMED: dict[int, Transfer] = {
    **dict.fromkeys((1, 6, 11, 14, 15), power(2.4)),
    4: power(2.2),
    5: power(2.8),
    7: _smpte_240m,
    8: power(1),
    13: srgb,
    17: _smpte_428,
}
"""The transfer functions of standard displays by their number in ITU-T H.273, table 3"""


def samples_in_srgb(transfer: Transfer) -> list[int]:
    """Return the sRGB sample of each eight-bit sample."""
    light = (min(1.0, transfer(sample / 255)) for sample in range(256))
    return [round(255 * encode_srgb(value)) for value in light]
