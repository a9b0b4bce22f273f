"""How many pixels a picture and its sides may have."""

from dataclasses import dataclass

from errors import TooManyPixelsError
from imaging.containers.content import MalformedImageError

# Decoders and encoders of JPEG take no longer sides. A PNG may have a side of two billion.
_MOST_SIDE = 65_535
# What a frame costs at least, in pixels' worth of decoding.
_LEAST_FRAME_PIXELS = 50_000


@dataclass(slots=True)
class PixelLimits:
    """The most pixels of one frame, and of all frames of an animation together."""

    frame: int
    animation: int

    def check(self, width: int, height: int) -> None:
        """Raise TooManyPixelsError for a larger picture, MalformedImageError for an empty one."""
        if not width or not height:
            raise MalformedImageError("it has no pixels")
        if max(width, height) > _MOST_SIDE:
            raise TooManyPixelsError(f"A side of an image may have at most {_MOST_SIDE} pixels.")
        if width * height > self.frame:
            raise TooManyPixelsError(f"An image may have at most {self.frame} pixels.")

    def spend(self, width: int, height: int) -> None:
        """Take another frame from what the animation may have; raises as `check` does."""
        self.check(width, height)
        self._spent += max(width * height, _LEAST_FRAME_PIXELS)
        if self._spent > self.animation:
            raise TooManyPixelsError(
                f"All frames together may have at most {self.animation} pixels; each counts as "
                f"{_LEAST_FRAME_PIXELS} at least."
            )

    _spent: int = 0
