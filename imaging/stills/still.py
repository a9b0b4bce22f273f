"""The first picture of a file as the smallest file that holds its pixels.

Decoders see only what their pixels need. Text, profiles, times and other metadata cannot stop
them, and our own code is the only reader of orientation, placement and colour space.
"""

import bisect
import io
import itertools
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import IO, Any

Piece = bytes | memoryview


@dataclass(slots=True)
class ColourSpace:
    """What a file says about its colours.

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

    `canvas` is the width and height of the whole picture as stored, `place` where on it the top
    left corner of the decoded pixels lies; the rest of the canvas is transparent. `orientation`
    is Exif's. `colour_key` is the one transparent grey, or red, green and blue: of 16 bits if
    the file's samples are, else of 8.

    `pixel_bytes` is how much memory its decoder takes for each pixel of the canvas. Where it
    `scales`, that is without the decoded pixels, of which there may be fewer.
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

    def open(self) -> IO[bytes]:
        """Return the minimal file, to be read."""
        return open_pieces(*self.pieces)


def open_pieces(*pieces: Piece) -> IO[bytes]:
    """Return one readable file of several pieces. No piece is copied as a whole."""
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
        start = (0, self._at, self._ends[-1])[whence]
        self._at = start + offset
        return self._at

    def readinto(self, buffer: Any) -> int:
        index = bisect.bisect_right(self._ends, self._at)
        if index == len(self._pieces):
            return 0
        wanted = memoryview(buffer)
        left = self._ends[index] - self._at
        part = self._pieces[index][-left:][: len(wanted)]
        wanted[: len(part)] = part
        self._at += len(part)
        return len(part)
