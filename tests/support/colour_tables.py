"""ICC profiles that map colors by a table (lut8Type, ICC.1:2010 section 10.9)."""

import itertools
import struct
from collections.abc import Callable, Sequence

from tests.support.icc_profiles import srgb_to_linear

Colour = Sequence[float]
_XYZ_FROM_SRGB = (
    (0.4360747, 0.3850649, 0.1430804),
    (0.2225045, 0.7168786, 0.0606169),
    (0.0139322, 0.0971045, 0.7141733),
)
_D50 = (0.9642, 1.0, 0.8249)


def table(meaning: Callable[[Colour], Colour], inputs: int = 3, steps: int = 9) -> bytes:
    """Return a table from samples between 0 and 1 to Lab; `meaning` converts samples to sRGB."""
    points = itertools.product([step / (steps - 1) for step in range(steps)], repeat=inputs)
    lookup = b"".join(_lab(meaning(point)) for point in points)
    identity = (65536, 0, 0, 0, 65536, 0, 0, 0, 65536)
    head = b"mft1" + bytes(4) + bytes([inputs, 3, steps, 0]) + struct.pack(">9i", *identity)
    return head + bytes(range(256)) * inputs + lookup + bytes(range(256)) * 3


def profile(
    *tags: tuple[bytes, bytes],
    space: bytes = b"RGB ",
    pcs: bytes = b"Lab ",
    intent: int = 0,
    version: int = 0x02100000,
) -> bytes:
    """Return a profile with these tags for a color space and a rendering intent."""
    white = b"XYZ " + bytes(4) + struct.pack(">3i", *(round(65536 * part) for part in _D50))
    rows, body, at = b"", b"", 132 + 12 * (len(tags) + 1)
    for name, content in [(b"wtpt", white), *tags]:
        padded = content + bytes(-len(content) % 4)
        rows += name + struct.pack(">II", at + len(body), len(content))
        body += padded
    head = struct.pack(">I4xI4s4s4s", at + len(body), version, b"mntr", space, pcs)
    head += bytes(12) + b"acsp" + bytes(24) + struct.pack(">I", intent) + white[8:]
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags) + 1) + rows + body


def _lab(srgb: Colour) -> bytes:
    light = [srgb_to_linear(part) for part in srgb]
    xyz = [sum(a * b for a, b in zip(row, light, strict=True)) for row in _XYZ_FROM_SRGB]
    x, y, z = (_compressed(value / white) for value, white in zip(xyz, _D50, strict=True))
    parts = (2.55 * (116 * y - 16), 500 * (x - y) + 128, 200 * (y - z) + 128)
    return bytes(max(0, min(255, round(part))) for part in parts)


def _compressed(value: float) -> float:
    return value ** (1 / 3) if value > 216 / 24389 else (24389 / 27 * value + 16) / 116
