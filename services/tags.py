"""Tags: the `v` of an address, which names the version that the address shows."""

import functools
import hashlib

from imaging.rendering.encodings import REVISION


def image_tag(sha256: str) -> str:
    """Return the tag of the image that has this SHA-256, hexadecimal."""
    return sha256[:16]


def variant_tag(sha256: str, formats: tuple[str, ...]) -> str:
    """Return the tag of all variants of the image that has this SHA-256.

    The path of a variant names its size, and maybe its format; otherwise `formats`, the setting
    VARIANT_FORMATS, decides on it. A variant's tag is longer than an image's, so never equal to it.
    """
    return image_tag(sha256) + _renderer_tag(REVISION, formats)


@functools.cache
def _renderer_tag(revision: int, formats: tuple[str, ...]) -> str:
    return hashlib.sha256(f"{revision} {','.join(formats)}".encode()).hexdigest()[:8]
