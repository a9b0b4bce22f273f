"""What a walk finds out about a file, whatever its format."""

from dataclasses import dataclass

from imaging.containers.exif import SIDEWAYS


@dataclass(slots=True, kw_only=True)
class Outline:
    """Width and height as stored, and the Exif orientation."""

    width: int = 0
    height: int = 0
    orientation: int = 1

    @property
    def shown(self) -> tuple[int, int]:
        """Width and height as viewers show them."""
        size = self.width, self.height
        return size[::-1] if self.orientation in SIDEWAYS else size

    @property
    def decoded_bytes(self) -> int:
        """How much memory decoding takes at most, beside the file itself."""
        raise NotImplementedError
