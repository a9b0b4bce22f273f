"""What a walk finds out about a file, whatever its format."""

from dataclasses import dataclass


@dataclass(slots=True, kw_only=True)
class Outline:
    """Width and height as stored, and whether the picture is shown on its side."""

    width: int = 0
    height: int = 0
    turned: bool = False

    @property
    def shown(self) -> tuple[int, int]:
        """Width and height as people see them."""
        return (self.height, self.width) if self.turned else (self.width, self.height)

    @property
    def decoded_bytes(self) -> int:
        """How much memory decoding takes at most, beside the file itself."""
        raise NotImplementedError
