"""Variants are made in decoder processes of their own: uploads never wait for them.

How a picture is made smaller: rendering.py.
"""

from dataclasses import dataclass
from typing import IO

from config import Settings, VariantSpec
from errors import DecodingTooCostlyError, VariantNotFoundError
from services.containers.content import MalformedImageError
from services.decoding.jobs import Job
from services.decoding.memory_file import memory_file
from services.decoding.pool import DecoderPool

# How much longer than inspecting a picture making a variant of it may take, in CPU time; and how
# much longer than that in real time.
_EFFORT, _PATIENCE = 6, 5
# A decoded pixel takes four bytes, its neighbours while they are averaged four more; of WebP
# libwebp and Pillow keep another twelve. Nothing of it is used before a picture needs it.
_BYTES_PER_PIXEL = 22


@dataclass(frozen=True, slots=True)
class Rendered:
    """An encoded picture and its size."""

    content: bytes
    width: int
    height: int


class Renderer:
    """Makes variants; shared by all threads."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._decoders = DecoderPool()

    def close(self) -> None:
        """End the processes."""
        self._decoders.close()

    def render(self, file: IO[bytes], extension: str, spec: VariantSpec, encoding: str) -> Rendered:
        """Return the variant of the image in `file`, a real one, of the kind that `extension` says.

        Raises VariantNotFoundError where none can be made of it; OverloadedError or
        OutOfResourcesError when nothing can be said now.
        """
        settings = self._settings
        cpu_seconds = _EFFORT * settings.inspection_cpu_seconds
        job = Job(
            "jpeg" if extension == "jpg" else extension,
            frame_pixels=settings.max_pixels,
            animation_pixels=settings.max_animation_pixels,
            memory=_BYTES_PER_PIXEL * settings.max_pixels,
            cpu_seconds=cpu_seconds,
            seconds=_PATIENCE * cpu_seconds,
            encoding=encoding,
            width=spec.width,
            height=spec.height,
            crop=spec.crop,
        )
        with memory_file() as output:
            try:
                result = self._decoders.decode(job, file.fileno(), output.fileno())
            except (MalformedImageError, DecodingTooCostlyError) as exc:
                raise VariantNotFoundError(f"No variant of it can be made: {exc}") from exc
            output.seek(0)
            return Rendered(output.read(), result.width, result.height)
