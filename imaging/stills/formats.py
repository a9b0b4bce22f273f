"""Reduce a file of any format to its first picture."""

from collections.abc import Callable

from imaging.containers.content import Content
from imaging.stills import gif, jpeg, png, webp
from imaging.stills.still import Still

_STILLS: dict[str, Callable[[Content], Still]] = {
    "jpeg": jpeg.still,
    "png": png.still,
    "gif": gif.still,
    "webp": webp.still,
}


def still(content: Content, image_format: str) -> Still:
    """Return the first picture of a file that was walked. Raises MalformedImageError."""
    return _STILLS[image_format](content)
