"""Which walk belongs to which format."""

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


def walk(content: Content, image_format: str, limits: PixelLimits) -> Outline:
    """Walk a whole file of that format; raises MalformedImageError or TooManyPixelsError."""
    return _WALKS[image_format](content, limits)
