"""ICC profiles built from published primaries, and conversions to sRGB to compare with.

The profiles are matrix/TRC profiles of version 2 (ICC.1:2010) with primaries adapted to D50. The
transfer curves are those of Adobe RGB (1998) and Display P3.
"""

import math
import struct
from collections.abc import Callable
from dataclasses import dataclass

Triple = tuple[float, float, float]
_D50: Triple = (0.9642, 1.0, 0.8249)
_SRGB_FROM_XYZ = (
    (3.1338561, -1.6168667, -0.4906146),
    (-0.9787684, 1.9161415, 0.0334540),
    (0.0719453, -0.2289914, 1.4052427),
)


def srgb_to_linear(value: float) -> float:
    """Convert an sRGB component from 0 to 1 to linear light (IEC 61966-2-1)."""
    return value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4


def linear_to_srgb(value: float) -> float:
    """Convert a linear component to sRGB, clipped to the range from 0 to 1."""
    value = min(1.0, max(0.0, value))
    return 12.92 * value if value <= 0.0031308 else 1.055 * value ** (1 / 2.4) - 0.055


@dataclass(frozen=True)
class RgbSpace:
    """An RGB color space: its primaries in XYZ and its transfer curve."""

    red: Triple
    green: Triple
    blue: Triple
    to_linear: Callable[[float], float]

    def profile(self) -> bytes:
        """Return the ICC profile of this color space."""
        trc = _curve(self.to_linear)
        return _profile(
            b"RGB ",
            *((b"rXYZ", _xyz(self.red)), (b"gXYZ", _xyz(self.green)), (b"bXYZ", _xyz(self.blue))),
            *((b"rTRC", trc), (b"gTRC", trc), (b"bTRC", trc)),
        )

    def in_srgb(self, colour: tuple[int, int, int]) -> Triple:
        """Convert an 8-bit color of this space to sRGB components from 0 to 255."""
        linear = [self.to_linear(part / 255) for part in colour]
        columns = (self.red, self.green, self.blue)
        xyz = [
            sum(v * column[i] for v, column in zip(linear, columns, strict=True)) for i in range(3)
        ]
        rows = (sum(a * b for a, b in zip(row, xyz, strict=True)) for row in _SRGB_FROM_XYZ)
        red, green, blue = (255 * linear_to_srgb(value) for value in rows)
        return red, green, blue


def grey_profile(to_linear: Callable[[float], float]) -> bytes:
    """Return an ICC profile for greyscale with this transfer curve."""
    return _profile(b"GRAY", (b"kTRC", _curve(to_linear)))


def _profile(space: bytes, *own_tags: tuple[bytes, bytes]) -> bytes:
    text = b"A profile of a test\0"
    description = struct.pack(">4s4xI", b"desc", len(text)) + text + bytes(78)
    tags = [
        (b"desc", description),
        (b"cprt", b"text\0\0\0\0nobody\0"),
        (b"wtpt", _xyz(_D50)),
        *own_tags,
    ]
    table, body, at = b"", b"", 128 + 4 + 12 * len(tags)
    for name, content in tags:
        padded = content + bytes(-len(content) % 4)
        table += struct.pack(">4sII", name, at, len(content))
        body, at = body + padded, at + len(padded)
    header = struct.pack(">I4xI4s4s4s12x4s", at, 0x02100000, b"mntr", space, b"XYZ ", b"acsp")
    header += bytes(28) + struct.pack(">3i", *(round(65536 * part) for part in _D50))
    return header.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body


def _curve(to_linear: Callable[[float], float]) -> bytes:
    values = (round(65535 * to_linear(i / 1023)) for i in range(1024))
    return struct.pack(">4s4xI1024H", b"curv", 1024, *values)


def _xyz(colour: Triple) -> bytes:
    return struct.pack(">4s4x3i", b"XYZ ", *(round(65536 * part) for part in colour))


ADOBE_RGB = RgbSpace(
    (0.60974, 0.31111, 0.01947),
    (0.20528, 0.62567, 0.06087),
    (0.14919, 0.06322, 0.74457),
    lambda value: value**2.19921875,
)
DISPLAY_P3 = RgbSpace(
    (0.51512, 0.24120, -0.00105),
    (0.29198, 0.69225, 0.04189),
    (0.15710, 0.06657, 0.78407),
    srgb_to_linear,
)


def delta_e(one: Triple, other: Triple) -> float:
    """Return the distance between two sRGB colors in CIELAB (CIE 1976)."""
    return math.dist(_lab(one), _lab(other))


def _lab(colour: Triple) -> Triple:
    red, green, blue = (srgb_to_linear(part / 255) for part in colour)
    x = (0.4360747 * red + 0.3850649 * green + 0.1430804 * blue) / _D50[0]
    y = 0.2225045 * red + 0.7168786 * green + 0.0606169 * blue
    z = (0.0139322 * red + 0.0971045 * green + 0.7141733 * blue) / _D50[2]
    fx, fy, fz = (v ** (1 / 3) if v > 0.008856 else 7.787 * v + 16 / 116 for v in (x, y, z))
    return 116 * fy - 16, 500 * (fx - fy), 200 * (fy - fz)
