"""The one thing of Exif that we need: which way up a picture is shown."""

import struct

_ORIENTATION, _SHORT = 0x0112, 3
_MOST_ENTRIES = 512
_BYTE_ORDERS = {b"II*\0": "<", b"MM\0*": ">"}


def is_shown_turned(tiff: bytes) -> bool:
    """Whether width and height change places when the picture is shown.

    `tiff` is the content of an Exif segment or chunk; browsers look only at what comes before the
    pixels.
    """
    return read_orientation(tiff) in range(5, 9)


def read_orientation(tiff: bytes) -> int:
    """Return the orientation, from 1 to 8 (Exif 2.32 section 4.6.4); 1 where none can be read."""
    tiff = tiff.removeprefix(b"Exif\0\0")
    order = _BYTE_ORDERS.get(tiff[:4])
    if order is None:
        return 1
    try:
        (at,) = struct.unpack_from(f"{order}I", tiff, 4)
        (count,) = struct.unpack_from(f"{order}H", tiff, at)
        for entry in range(at + 2, at + 2 + 12 * min(count, _MOST_ENTRIES), 12):
            tag, kind, _, value = struct.unpack_from(f"{order}HHIH", tiff, entry)
            if tag == _ORIENTATION:
                return value if kind == _SHORT and value in range(1, 9) else 1
    except struct.error:
        pass
    return 1
