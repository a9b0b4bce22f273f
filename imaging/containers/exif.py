"""The Exif orientation, the only tag that affects pixels."""

import struct

from imaging.containers.content import Content

_ORIENTATION, _SHORT = 0x0112, 3
_MOST_ENTRIES = 512
_BYTE_ORDERS = {b"II*\0": "<", b"MM\0*": ">"}

SIDEWAYS = range(5, 9)
"""The orientations that swap width and height."""


def read_orientation(tiff: Content) -> int:
    """Return the orientation, from 1 to 8 (Exif 2.32 section 4.6.4); 1 if it cannot be read.

    `tiff` is the content of an Exif segment or chunk. Like browsers, it accepts only one SHORT.
    """
    order = _BYTE_ORDERS.get(tiff[:4])
    if order is None:
        return 1
    try:
        (at,) = struct.unpack_from(f"{order}I", tiff, 4)
        (entries,) = struct.unpack_from(f"{order}H", tiff, at)
        for entry in range(at + 2, at + 2 + 12 * min(entries, _MOST_ENTRIES), 12):
            tag, kind, count, value = struct.unpack_from(f"{order}HHIH", tiff, entry)
            if tag == _ORIENTATION:
                return value if (kind, count) == (_SHORT, 1) and value in range(1, 9) else 1
    except struct.error:
        pass
    return 1
