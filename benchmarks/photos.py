"""JPEG photographs of exact sizes, and the forms that upload them.

No two uploads have the same bytes, because the service would not store them again.
"""

import io
import math
import random
from functools import cache

from PIL import Image

from benchmarks.load import Slot, Template

KB = 1024
MB = 1024 * KB

_BOUNDARY = "benchmark-boundary"
FORM_HEADERS = {"Content-Type": f"multipart/form-data; boundary={_BOUNDARY}"}

_SERIAL_COMMENT = b"\xff\xfe\x00\x12"  # starts a comment of 16 bytes
_LONGEST_COMMENT = 65533
_MOST_PIXELS = 48_000_000
_DENSER = 22 * MB


@cache
def photo(size: int) -> Template:
    """Return a photograph of exactly `size` bytes that holds a serial number.

    It has 0.4 bytes per pixel like the JPEG of a camera, or more if it would have too many pixels.
    Comments fill the rest.
    """
    height = math.isqrt(int(min(2.4 * size, _MOST_PIXELS) * 3 / 4))
    picture = _jpeg(height * 4 // 3, height, quality=92 if size < _DENSER else 96)
    missing = size - len(picture) - len(_SERIAL_COMMENT) - 16
    start = picture[:2] + _comments(missing) + _SERIAL_COMMENT
    return start, Slot.SERIAL, picture[2:]


def _jpeg(width: int, height: int, quality: int) -> bytes:
    """Return colored noise that is coarse enough to compress like a photograph."""
    small = (math.ceil(width / 8), math.ceil(height / 8))
    noise = random.Random(0).randbytes(3 * small[0] * small[1])  # noqa: S311
    file = io.BytesIO()
    Image.frombytes("RGB", small, noise).resize((width, height)).save(file, "JPEG", quality=quality)
    return file.getvalue()


def _comments(size: int) -> bytes:
    """Return JPEG comments of `size` bytes in total."""
    comments = []
    while size > 0:
        length = min(size - 4, _LONGEST_COMMENT)
        if 0 < size - 4 - length < 4:  # too few for another comment
            length -= 4
        comments.append(b"\xff\xfe" + (length + 2).to_bytes(2, "big") + bytes(length))
        size -= 4 + length
    return b"".join(comments)


def upload_form(name: Template, size: int) -> Template:
    """Return the form that uploads a photograph of `size` bytes under `name`."""
    field = f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="name"\r\n\r\n'
    file = (
        f"\r\n--{_BOUNDARY}\r\n"
        'Content-Disposition: form-data; name="file"; filename="photo.jpg"\r\n'
        "Content-Type: image/jpeg\r\n\r\n"
    )
    end = f"\r\n--{_BOUNDARY}--\r\n"
    return (field.encode(), *name, file.encode(), *photo(size), end.encode())
