"""Generates picture files of any size; the same arguments give the same bytes."""

import io
import math
import random

from PIL import Image


def picture(width: int, height: int, seed: int = 0) -> Image.Image:
    """Return colored noise, coarse enough to compress like a photograph."""
    small = (math.ceil(width / 8), math.ceil(height / 8))
    noise = random.Random(seed).randbytes(3 * small[0] * small[1])
    return Image.frombytes("RGB", small, noise).resize((width, height))


def encoded(picture: Image.Image, image_format: str, **options: object) -> bytes:
    """Encode a picture and return the bytes of the file."""
    out = io.BytesIO()
    picture.save(out, image_format, **options)
    return out.getvalue()


def jpeg(width: int = 64, height: int = 48, seed: int = 0, quality: int = 85) -> bytes:
    """Return a JPEG file."""
    return encoded(picture(width, height, seed), "JPEG", quality=quality)


def png(width: int = 64, height: int = 48, seed: int = 0) -> bytes:
    """Return a PNG file."""
    return encoded(picture(width, height, seed), "PNG")


def webp(width: int = 64, height: int = 48, seed: int = 0) -> bytes:
    """Return a WebP file."""
    return encoded(picture(width, height, seed), "WEBP")


def gif(width: int = 64, height: int = 48, seed: int = 0, frames: int = 1) -> bytes:
    """Return a GIF file; with more than one frame it is animated."""
    first, *rest = (picture(width, height, seed + 1000 * i) for i in range(frames))
    moving: dict[str, object] = {"save_all": True, "append_images": rest, "duration": 40}
    return encoded(first, "GIF", **(moving if rest else {}))


def noise_png(n_bytes: int, seed: int = 0) -> bytes:
    """Return an uncompressed PNG of noise with about `n_bytes` bytes (from 100 KB within 1 %)."""
    side = max(1, round(math.sqrt(n_bytes / 3)))
    noise = random.Random(seed).randbytes(3 * side * side)
    return encoded(Image.frombytes("RGB", (side, side), noise), "PNG", compress_level=0)


PICTURES = {"jpg": jpeg, "jpeg": jpeg, "png": png, "gif": gif, "webp": webp}
"""For each allowed extension, the function that generates such a file."""
