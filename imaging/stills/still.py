"""The first picture of a file as the smallest file that contains its pixels.

Decoders never see text, profiles or other metadata. Our own code reads the orientation, the
placement and the colour space.
"""

import bisect
import io
import itertools
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import IO, Any

from imaging.containers.exif import SIDEWAYS

Piece = bytes | memoryview


@dataclass(slots=True)
class ColourSpace:
    """The colour space that a file declares.

    `icc` is an ICC profile (ICC.1:2010). `cicp` holds the colour primaries and the transfer
    function of a PNG's cICP chunk (ITU-T H.273); `gamma` and `chromaticities` (white, red, green
    and blue, x and y each) are those of its gAMA and cHRM chunks.
    """

    icc: bytes = b""
    cicp: tuple[int, int] | None = None
    is_srgb: bool = False
    gamma: float | None = None
    chromaticities: tuple[float, ...] | None = None


@dataclass(slots=True)
class Still:
    """The first picture of a file.

    `canvas` is the width and height of the whole picture as stored, and `place` the left and top
    of the decoded pixels on it; the rest is transparent. `orientation` is that of Exif.
    `colour_key` is the transparent grey, or red, green and blue, with 16 bits if the samples of
    the file have 16, else 8. If `at_once`, a decoder must receive the whole file in one piece.

    `pixel_bytes` is the memory that decoding and averaging takes for each pixel of the canvas,
    without the decoded pixels if the decoder `scales`. If there are `coarse` pieces, decoding at
    an eighth of the size needs only them.
    """

    pieces: Sequence[Piece]
    canvas: tuple[int, int]
    pixel_bytes: int
    _: KW_ONLY
    is_opaque: bool = False
    scales: bool = False
    place: tuple[int, int] = (0, 0)
    orientation: int = 1
    colour_key: tuple[int, ...] | None = None
    colours: ColourSpace = field(default_factory=ColourSpace)
    at_once: bool = False
    coarse: Sequence[Piece] = ()

    @property
    def shown(self) -> tuple[int, int]:
        """The canvas as viewers display it."""
        return self.canvas[::-1] if self.orientation in SIDEWAYS else self.canvas

    @property
    def size_bytes(self) -> int:
        """The length of the minimal file."""
        return sum(map(len, self.pieces))

    def open(self, *, coarse: bool = False) -> IO[bytes]:
        """Open the minimal file for reading; if `coarse`, for decoding at an eighth of the size."""
        return open_pieces(*((coarse and self.coarse) or self.pieces))


def open_pieces(*pieces: Piece) -> IO[bytes]:
    """Return the pieces as one readable file, without copying them."""
    return io.BufferedReader(_Pieces(pieces))


class _Pieces(io.RawIOBase):
    def __init__(self, pieces: Sequence[Piece]) -> None:
        self._pieces = [memoryview(piece) for piece in pieces]
        self._ends = list(itertools.accumulate(map(len, self._pieces)))
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = (0, self._at, self._ends[-1])[whence] + offset
        return self._at

    def readinto(self, buffer: Any) -> int:
        index = bisect.bisect_right(self._ends, self._at)
        if index == len(self._pieces):
            return 0
        target = memoryview(buffer)
        remaining = self._ends[index] - self._at
        part = self._pieces[index][-remaining:][: len(target)]
        target[: len(part)] = part
        self._at += len(part)
        return len(part)
