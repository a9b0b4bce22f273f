"""Make variants in separate decoder processes, so that uploads never wait for them."""

from dataclasses import dataclass
from typing import IO

from errors import DecodingTooCostlyError, VariantNotFoundError
from imaging.containers.content import MalformedImageError
from imaging.decoding.jobs import WALL_PER_CPU, Job
from imaging.decoding.memory_file import memory_file
from imaging.decoding.pool import DecoderPool
from imaging.rendering.sizes import Box

# More than `rendering_bytes` computes for any picture, so that a second attempt can use more.
# Memory that a picture does not need is never touched.
_BYTES, _BYTES_PER_PIXEL, _BYTES_PER_PIXEL_MADE = 32 * 1024 * 1024, 16, 64
# A quarter of 50 megapixels. Smaller pictures get less time, so that none of them can use it all.
_COSTLY_PIXELS = 12_500_000
_MIN_SHARE = 1 / 3


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

    def make(
        self, file: IO[bytes], image_format: str, pixels: int, box: Box, encoding: str
    ) -> EncodedPicture:
        """Return the picture in `file`, which has that format, scaled to `box`.

        The number of its `pixels` bounds memory and time. Raises VariantNotFoundError if the
        picture cannot be rendered, and OverloadedError or OutOfResourcesError if a later attempt
        may succeed.
        """
        made = min(pixels, box.width * box.height)
        share = min(1.0, max(_MIN_SHARE, pixels / _COSTLY_PIXELS))
        job = Job(
            image_format,
            frame_pixels=self._max_pixels,
            animation_pixels=self._max_animation_pixels,
            memory=_BYTES + _BYTES_PER_PIXEL * pixels + _BYTES_PER_PIXEL_MADE * made,
            cpu_seconds=self._cpu_seconds * share,
            seconds=WALL_PER_CPU * self._cpu_seconds,
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
