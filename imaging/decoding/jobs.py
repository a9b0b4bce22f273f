"""What is asked of a decoder process, and what it answers; both travel as JSON arrays."""

from enum import StrEnum
from typing import NamedTuple


class Job(NamedTuple):
    """Decode a file of that format under these limits: bytes, seconds of CPU, and of waiting.

    With an `encoding` make a variant instead, for the box of `width`, `height` and `crop`, and
    write it to a second file.
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


class JobOutcome(StrEnum):
    """How a job ended."""

    DECODED = "decoded"
    MALFORMED = "malformed"
    TOO_MANY_PIXELS = "too many pixels"
    NEEDS_MEMORY = "needs memory"


class Result(NamedTuple):
    """The outcome; the size as shown of what was decoded or made, or the reason why it was not."""

    outcome: JobOutcome
    width: int = 0
    height: int = 0
    reason: str = ""
