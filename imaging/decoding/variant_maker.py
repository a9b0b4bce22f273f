"""Variants are made in decoder processes of their own, so uploads never wait for them."""

from dataclasses import dataclass
from typing import IO

from errors import DecodingTooCostlyError, VariantNotFoundError
from imaging.containers.content import MalformedImageError
from imaging.decoding.jobs import Job
from imaging.decoding.memory_file import memory_file
from imaging.decoding.pool import DecoderPool
from imaging.rendering.sizes import Box

# Real time granted for each second of CPU: others want the CPU, too.
_PATIENCE = 5
# A decoded pixel takes four bytes, its neighbours while they are averaged four more; libwebp and
# Pillow keep another twelve of a WebP. Memory that a picture does not need is never touched.
_BYTES_PER_PIXEL = 22


@dataclass(frozen=True, slots=True)
class EncodedPicture:
    """A picture in a file format, and its size in pixels."""

    content: bytes
    width: int
    height: int


class VariantMaker:
    """Makes variants; shared by all threads."""

    def __init__(self, *, max_pixels: int, max_animation_pixels: int, cpu_seconds: float) -> None:
        self._max_pixels = max_pixels
        self._max_animation_pixels = max_animation_pixels
        self._cpu_seconds = cpu_seconds
        self._decoders = DecoderPool()

    def close(self) -> None:
        """End the processes."""
        self._decoders.close()

    def make(self, file: IO[bytes], extension: str, box: Box, encoding: str) -> EncodedPicture:
        """Return the picture in `file`, of the kind that `extension` says, made to fit `box`.

        Raises VariantNotFoundError if the picture cannot be rendered, OverloadedError or
        OutOfResourcesError if a later attempt may succeed.
        """
        job = Job(
            "jpeg" if extension == "jpg" else extension,
            frame_pixels=self._max_pixels,
            animation_pixels=self._max_animation_pixels,
            memory=_BYTES_PER_PIXEL * self._max_pixels,
            cpu_seconds=self._cpu_seconds,
            seconds=_PATIENCE * self._cpu_seconds,
            encoding=encoding,
            width=box.width,
            height=box.height,
            crop=box.crop,
        )
        with memory_file() as output:
            try:
                result = self._decoders.decode(job, file.fileno(), output.fileno())
            except (MalformedImageError, DecodingTooCostlyError) as exc:
                raise VariantNotFoundError(f"No variant of it can be made: {exc}") from exc
            output.seek(0)
            return EncodedPicture(output.read(), result.width, result.height)
