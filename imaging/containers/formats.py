"""The signature and the walker of each format."""

import re
from collections.abc import Callable

from imaging.containers import gif, jpeg, png, webp
from imaging.containers.content import Content
from imaging.containers.limits import PixelLimits
from imaging.containers.outline import Outline

_WALKS: dict[str, Callable[[Content, PixelLimits], Outline]] = {
    "jpeg": jpeg.walk,
    "png": png.walk,
    "gif": gif.walk,
    "webp": webp.walk,
}
_SIGNATURES = {
    "jpeg": re.compile(b"\xff\xd8\xff"),
    "png": re.compile(b"\x89PNG\r\n\x1a\n"),
    "gif": re.compile(b"GIF8[79]a"),
    "webp": re.compile(b"RIFF....WEBP", re.DOTALL),
}
SIGNATURE_BYTES = 12


def walk(content: Content, image_format: str, limits: PixelLimits) -> Outline:
    """Walk a file of that format. Raises MalformedImageError or TooManyPixelsError."""
    return _WALKS[image_format](content, limits)


def format_of(beginning: bytes) -> str | None:
    """Return the format of a file by its first SIGNATURE_BYTES; None if it is unknown."""
    matches = (name for name, signature in _SIGNATURES.items() if signature.match(beginning))
    return next(matches, None)
