"""Real pictures of any wanted size, the same bytes for the same arguments."""

import io
import math
import random

from PIL import Image


def picture(width: int, height: int, seed: int = 0) -> Image.Image:
    """Return coloured noise, coarse enough to compress as a photograph does."""
    small = (math.ceil(width / 8), math.ceil(height / 8))
    noise = random.Random(seed).randbytes(3 * small[0] * small[1])
    return Image.frombytes("RGB", small, noise).resize((width, height))


def encoded(picture: Image.Image, image_format: str, **options: object) -> bytes:
    """Return a picture as a file."""
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
    """Return a GIF file, an animated one when it has more than one frame."""
    first, *rest = (picture(width, height, seed + 1000 * i) for i in range(frames))
    moving: dict[str, object] = {"save_all": True, "append_images": rest, "duration": 40}
    return encoded(first, "GIF", **(moving if rest else {}))


def noise_png(n_bytes: int, seed: int = 0) -> bytes:
    """Return a PNG file of about `n_bytes` (1 % off at most from 100 KB on): pure noise, stored."""
    side = max(1, round(math.sqrt(n_bytes / 3)))
    noise = random.Random(seed).randbytes(3 * side * side)
    return encoded(Image.frombytes("RGB", (side, side), noise), "PNG", compress_level=0)


PICTURES = {"jpg": jpeg, "jpeg": jpeg, "png": png, "gif": gif, "webp": webp}
"""For each allowed extension, what makes a file of that kind."""
