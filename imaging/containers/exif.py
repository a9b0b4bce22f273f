"""The Exif orientation, the only tag that affects pixels.

Browsers obey it in JPEG and before the pixels of PNG, but not in WebP. The walkers decide that.
"""

import struct

from imaging.containers.content import Content

_ORIENTATION, _SHORT = 0x0112, 3
_ENTRY_BYTES = 12
_BYTE_ORDERS = {b"II*\0": "<", b"MM\0*": ">"}

SIDEWAYS = range(5, 9)
"""The orientations that swap width and height."""


def read_orientation(tiff: Content) -> int:
    """Return the orientation, from 1 to 8 (Exif 2.32 section 4.6.4); 1 if it cannot be read.

    `tiff` is the content of an Exif segment or chunk. As in browsers, the first entry with one
    valid SHORT counts.
    """
    order = _BYTE_ORDERS.get(tiff[:4])
    if order is None:
        return 1
    try:
        (at,) = struct.unpack_from(f"{order}I", tiff, 4)
        (entries,) = struct.unpack_from(f"{order}H", tiff, at)
    except struct.error:
        return 1
    whole = min(entries, (len(tiff) - at - 2) // _ENTRY_BYTES)
    table = tiff[at + 2 : at + 2 + _ENTRY_BYTES * whole]
    for tag, kind, count, value in struct.iter_unpack(f"{order}HHIH2x", table):
        if (tag, kind, count) == (_ORIENTATION, _SHORT, 1) and value in range(1, 9):
            return int(value)
    return 1


def orientation_only(tiff: Content) -> bytes:
    """Return Exif with the orientation and nothing else; empty if the picture is upright."""
    orientation = read_orientation(tiff)
    if orientation == 1:
        return b""
    mark = bytes(tiff[:4])
    entry = _ORIENTATION, _SHORT, 1, orientation, 0
    minimal = struct.pack(f"{_BYTE_ORDERS[mark]}4sIHHHIHHI", mark, 8, 1, *entry, 0)
    return minimal[: len(tiff)]  # some writers omit the offset of the next directory
