"""The requests to a decoder process and its responses; both are sent as JSON arrays."""

from enum import StrEnum
from typing import NamedTuple

# Seconds of wall-clock time for each second of CPU, because other processes also need the CPU
WALL_PER_CPU = 5


class Job(NamedTuple):
    """A file to decode, within limits in pixels, bytes, seconds of CPU and of wall-clock time.

    If it `strips`, the metadata of the file is removed in place. If `encoding` is set, a variant
    for the box of `width`, `height` and `crop` is written to a second file instead.
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
    """The outcome, with the displayed size of the picture or the reason of the refusal.

    `is_stripped` says whether the file was rewritten without its metadata.
    """

    outcome: JobOutcome
    width: int = 0
    height: int = 0
    reason: str = ""
    is_stripped: bool = False
