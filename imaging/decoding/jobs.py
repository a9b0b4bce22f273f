"""What is asked of a decoder process, and what it answers; both travel as JSON arrays."""

from enum import StrEnum
from typing import NamedTuple

# Wall-clock time granted for each second of CPU, because other processes need the CPU as well
WALL_PER_CPU = 5


class Job(NamedTuple):
    """Decode a file, within limits in pixels, bytes, seconds of CPU and seconds of wall-clock time.

    If it `strips`, remove the metadata of the file in place. If `encoding` is set, make a variant
    for the box of `width`, `height` and `crop` instead, and write it to a second file.
    """

    image_format: str
    frame_pixels: int
    animation_pixels: int
    memory: int
    cpu_seconds: float
    seconds: float
    encoding: str = ""
    width: int = 0
    height: int = 0
    crop: bool = False
    strips: bool = False


class JobOutcome(StrEnum):
    """How a job ended."""

    DECODED = "decoded"
    MALFORMED = "malformed"
    TOO_MANY_PIXELS = "too many pixels"
    NEEDS_MEMORY = "needs memory"


class Result(NamedTuple):
    """The outcome, with the displayed size of the picture, or the reason why there is none.

    `is_stripped` says whether the file was rewritten without its metadata.
    """

    outcome: JobOutcome
    width: int = 0
    height: int = 0
    reason: str = ""
    is_stripped: bool = False
