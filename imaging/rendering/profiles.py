"""ICC profiles (ICC.1:2010) for littlecms, reduced from files or built from primaries."""

import struct
from collections.abc import Sequence
from typing import NamedTuple

from imaging.containers.icc import HEADER_BYTES, is_profile
from imaging.rendering.transfer_functions import Transfer

_TAG_BYTES = 12
_MAX_BYTES = 4 * 1024 * 1024
_MAX_TAGS = 1000
_LATEST_VERSION = 4
_CURVE_ENTRIES = 4096
# The tags that browsers read. Others, such as float matrices (D2B0), can cost littlecms seconds.
_TABLE, _RELATIVE_TABLE, _CODES = b"A2B0", b"A2B1", b"cicp"
_CODES_BYTES = 12
_MATRIX = {b"rXYZ", b"gXYZ", b"bXYZ", b"rTRC", b"gTRC", b"bTRC"}
_TAGS = {*_MATRIX, _TABLE, _RELATIVE_TABLE, _CODES, b"wtpt", b"chad", b"kTRC"}
# The tags that a profile without a table needs. Grey curves lead only to XYZ.
_NEEDED = {(b"GRAY", b"XYZ "): {b"kTRC"}}

Chromaticities = Sequence[float]
"""x and y of white, red, green and blue."""

_D65, _BT709 = (0.3127, 0.329), (0.64, 0.33, 0.30, 0.60, 0.15, 0.06)
SRGB_PRIMARIES: Chromaticities = (*_D65, *_BT709)
NAMED_PRIMARIES: dict[int, Chromaticities] = {
    1: SRGB_PRIMARIES,
    4: (0.310, 0.316, 0.67, 0.33, 0.21, 0.71, 0.14, 0.08),
    5: (*_D65, 0.64, 0.33, 0.29, 0.60, 0.15, 0.06),
    6: (*_D65, 0.63, 0.34, 0.31, 0.595, 0.155, 0.07),
    7: (*_D65, 0.63, 0.34, 0.31, 0.595, 0.155, 0.07),
    9: (*_D65, 0.708, 0.292, 0.170, 0.797, 0.131, 0.046),
    10: (1 / 3, 1 / 3, 1, 0, 0, 1, 0, 0),
    11: (0.314, 0.351, 0.68, 0.32, 0.265, 0.69, 0.15, 0.06),
    12: (*_D65, 0.68, 0.32, 0.265, 0.69, 0.15, 0.06),
    22: (*_D65, 0.63, 0.34, 0.295, 0.605, 0.155, 0.077),
}
"""The colour primaries by their number in ITU-T H.273, table 2"""

_Matrix = list[list[float]]
_BRADFORD: _Matrix = [
    [0.8951, 0.2664, -0.1614],
    [-0.7502, 1.7135, 0.0367],
    [0.0389, -0.0685, 1.0296],
]
_D50 = [0.9642, 1.0, 0.8249]


class Profile(NamedTuple):
    """A profile for littlecms: the colour space of its samples, such as `GRAY`, and its content.

    If set, `cicp` takes precedence: the colour primaries and the transfer function of ITU-T H.273.
    """

    space: bytes
    content: bytes
    cicp: tuple[int, int] | None = None


def reduced(profile: bytes) -> Profile | None:
    """Return a file's profile as a display profile with only the tags that browsers read.

    None if it is too large or browsers ignore it. They prefer the perceptual table to the relative
    one, whatever the profile's intent.
    """
    if not _has_known_header(profile):
        return None
    (length,), (count,) = (struct.unpack_from(">I", profile, at) for at in (0, HEADER_BYTES))
    first = HEADER_BYTES + 4
    body = first + _TAG_BYTES * count
    if count > _MAX_TAGS or not body <= length <= len(profile):
        return None
    rows = [profile[at : at + _TAG_BYTES] for at in range(first, body, _TAG_BYTES)]
    if not all(_lies_within(length, row) for row in rows):
        return None
    # The first of several tags of the same name counts.
    tags = {row[:4]: row[4:] for row in reversed(rows) if row[:4] in _TAGS}
    if relative := tags.pop(_RELATIVE_TABLE, None):
        tags.setdefault(_TABLE, relative)
    space, connection = profile[16:20], profile[20:24]
    codes = tags.pop(_CODES, None)
    if not (_TABLE in tags or _NEEDED.get((space, connection), _MATRIX) <= tags.keys()):
        return None
    table = b"".join(name + place for name, place in tags.items())
    head = profile[:12] + b"mntr" + profile[16:HEADER_BYTES] + struct.pack(">I", len(tags))
    # The other bytes keep their places, so the offsets of the tags stay valid.
    content = head + table.ljust(body - first, b"\0") + profile[body:length]
    return Profile(space, content, _cicp(profile, codes) if codes else None)


def _has_known_header(profile: bytes) -> bool:
    """Return whether browsers know the version, the connection space and the illuminant."""
    if not HEADER_BYTES + 4 <= len(profile) <= _MAX_BYTES or not is_profile(profile):
        return False
    illuminant = struct.unpack_from(">3i", profile, 68)
    near = all(abs(a / 65536 - b) <= 0.01 for a, b in zip(illuminant, _D50, strict=True))
    return near and profile[8] <= _LATEST_VERSION and profile[20:24] in {b"XYZ ", b"Lab "}


def _lies_within(length: int, row: bytes) -> bool:
    offset, size = struct.unpack(">II", row[4:])
    least = _CODES_BYTES if row[:4] == _CODES else 0
    return bool(offset >= HEADER_BYTES and size >= least and offset + size <= length)


def _cicp(profile: bytes, place: bytes) -> tuple[int, int] | None:
    """Return the primaries and transfer function of a cicp tag of full-range RGB (ICC.1:2022)."""
    offset, _ = struct.unpack(">II", place)
    primaries, transfer, matrix, full = profile[offset + 8 : offset + _CODES_BYTES]
    return (primaries, transfer) if (matrix, full) == (0, 1) else None


def of_primaries(chromaticities: Chromaticities, transfer: Transfer) -> Profile | None:
    """Return an RGB display profile with these primaries; None if they span no colour space."""
    try:
        columns = _to_d50(chromaticities)
    except ZeroDivisionError:
        return None
    entries = range(_CURVE_ENTRIES)
    curve = [round(65535 * min(1.0, transfer(i / (_CURVE_ENTRIES - 1)))) for i in entries]
    curves = struct.pack(f">4s4xI{_CURVE_ENTRIES}H", b"curv", _CURVE_ENTRIES, *curve)
    tags = [
        (b"wtpt", _xyz(_D50)),
        *zip((b"rXYZ", b"gXYZ", b"bXYZ"), map(_xyz, columns), strict=True),
        *((name, curves) for name in (b"rTRC", b"gTRC", b"bTRC")),
    ]
    return Profile(b"RGB ", _profile(tags))


def _profile(tags: list[tuple[bytes, bytes]]) -> bytes:
    table, body = struct.pack(">I", len(tags)), b""
    start = HEADER_BYTES + 4 + _TAG_BYTES * len(tags)
    for name, content in tags:
        table += name + struct.pack(">II", start + len(body), len(content))
        body += content
    kind = struct.pack(">I4s4s4s", 0x02100000, b"mntr", b"RGB ", b"XYZ ")
    head = struct.pack(">I4x", start + len(body)) + kind + bytes(12) + b"acsp" + bytes(28)
    return (head + _xyz(_D50)[8:]).ljust(HEADER_BYTES, b"\0") + table + body


def _xyz(colour: Sequence[float]) -> bytes:
    return struct.pack(">4s4x3i", b"XYZ ", *(round(65536 * part) for part in colour))


def _to_d50(chromaticities: Chromaticities) -> _Matrix:
    """Return red, green and blue in XYZ, adapted from their white to D50 (ICC.1:2010 annex E)."""
    white, *primaries = (
        [x, y, 1 - x - y] for x, y in zip(chromaticities[::2], chromaticities[1::2], strict=True)
    )
    white = [part / white[1] for part in white]
    scales = product(_inverse(_transposed(primaries)), white)
    scaled = [
        [scale * part for part in primary] for scale, primary in zip(scales, primaries, strict=True)
    ]
    gains = [
        to / of for to, of in zip(product(_BRADFORD, _D50), product(_BRADFORD, white), strict=True)
    ]
    adapted = [
        [gain * part for gain, part in zip(gains, product(_BRADFORD, colour), strict=True)]
        for colour in scaled
    ]
    back = _inverse(_BRADFORD)
    return [product(back, colour) for colour in adapted]


def conversion(source: Chromaticities, target: Chromaticities) -> _Matrix:
    """Return the matrix that converts linear light from one set of primaries to another."""
    back = _inverse(_transposed(_to_d50(target)))
    return _transposed([product(back, column) for column in _to_d50(source)])


def product(matrix: _Matrix, vector: Sequence[float]) -> list[float]:
    """Return the matrix times the vector."""
    return [sum(a * b for a, b in zip(row, vector, strict=True)) for row in matrix]


def _transposed(matrix: _Matrix) -> _Matrix:
    return [list(column) for column in zip(*matrix, strict=True)]


def _inverse(matrix: _Matrix) -> _Matrix:
    """Return the inverse by cofactors. Raises ZeroDivisionError if there is none."""
    (a, b, c), (d, e, f), (g, h, i) = matrix
    cofactors = [
        [e * i - f * h, c * h - b * i, b * f - c * e],
        [f * g - d * i, a * i - c * g, c * d - a * f],
        [d * h - e * g, b * g - a * h, a * e - b * d],
    ]
    determinant = a * cofactors[0][0] + b * cofactors[1][0] + c * cofactors[2][0]
    return [[value / determinant for value in row] for row in cofactors]
