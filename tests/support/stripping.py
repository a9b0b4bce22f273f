"""Strips files in memory."""

import io

from imaging.containers.formats import walk
from imaging.containers.limits import PixelLimits
from imaging.containers.outline import Outline
from imaging.stripping.formats import strip


def outline(content: bytes, image_format: str) -> Outline:
    """Walk a file of at most a megapixel."""
    return walk(content, image_format, PixelLimits(10**6, 10**7))


def stripped(content: bytes, image_format: str) -> bytes:
    """Return a file without its metadata."""
    file = io.BytesIO(content)
    changed = strip(content, outline(content, image_format), file)
    assert changed == (file.getvalue() != content)
    return file.getvalue()
