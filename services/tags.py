"""Tags: the `v` of an address, which identifies the version of the picture."""

import functools
import hashlib

from imaging.rendering.encodings import REVISION


def image_tag(sha256: str) -> str:
    """Return the tag of the image with this SHA-256 (hexadecimal)."""
    return sha256[:16]


def variant_tag(sha256: str, formats: tuple[str, ...]) -> str:
    """Return the tag of all variants of the image with this SHA-256.

    It depends on `formats`, the setting VARIANT_FORMATS, because that selects the format if the
    path does not. It is longer than the tag of an image, so the two are never equal.
    """
    return image_tag(sha256) + _renderer_tag(REVISION, formats)


@functools.cache
def _renderer_tag(revision: int, formats: tuple[str, ...]) -> str:
    return hashlib.sha256(f"{revision} {','.join(formats)}".encode()).hexdigest()[:8]
