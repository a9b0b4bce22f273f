"""The limits on pixels and sides."""

from dataclasses import dataclass

from errors import TooManyPixelsError
from imaging.containers.content import MalformedImageError

# libjpeg accepts no longer sides. A PNG may have a side of two billion pixels.
_MAX_SIDE = 65_535
# Decoding even the smallest frame costs as much as this many pixels.
_MIN_FRAME_PIXELS = 50_000


@dataclass(slots=True)
class PixelLimits:
    """The maximum pixels of one frame, and of all frames of an animation in total."""

    frame: int
    animation: int
    _spent: int = 0

    def check(self, width: int, height: int) -> None:
        """Raise TooManyPixelsError if the picture is larger, MalformedImageError if it is empty."""
        if not width or not height:
            raise MalformedImageError("it has no pixels")
        if max(width, height) > _MAX_SIDE:
            raise TooManyPixelsError(f"A side of an image may have at most {_MAX_SIDE} pixels.")
        if width * height > self.frame:
            raise TooManyPixelsError(f"An image may have at most {self.frame} pixels.")

    def spend(self, width: int, height: int) -> None:
        """Count another frame of an animation. Raises the errors of `check`."""
        self.check(width, height)
        self._spent += max(width * height, _MIN_FRAME_PIXELS)
        if self._spent > self.animation:
            raise TooManyPixelsError(
                f"All frames together may have at most {self.animation} pixels; each counts as "
                f"{_MIN_FRAME_PIXELS} at least."
            )
