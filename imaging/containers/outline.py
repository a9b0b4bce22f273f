"""The result of a walk that all formats share."""

from dataclasses import dataclass

from imaging.containers.exif import SIDEWAYS


@dataclass(slots=True, kw_only=True)
class Outline:
    """Width and height as stored in pixels, and the Exif orientation."""

    width: int = 0
    height: int = 0
    orientation: int = 1

    @property
    def shown(self) -> tuple[int, int]:
        """Width and height as viewers display them."""
        size = self.width, self.height
        return size[::-1] if self.orientation in SIDEWAYS else size

    @property
    def decoded_bytes(self) -> int:
        """The maximum memory that decoding takes, in bytes, besides the file itself."""
        raise NotImplementedError
