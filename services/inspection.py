"""Inspection: checks whether a file is accepted; finds its format, dimensions, size and SHA-256.

It relies on the content of the file, not on what the client says. Our own code walks the container
and refuses truncated and oversized files. Unless INSPECTION is `header`, a decoder process then
decodes every pixel. STRIP_METADATA removes the metadata of accepted files.
"""

import io
import mmap
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO

from config import FORMATS, Settings
from config.formats import ALIASES, Format
from errors import (
    ExtensionNotAllowedError,
    ImageTooLargeError,
    NotAnImageError,
    UnsupportedMediaTypeError,
)
from imaging.containers.content import Content, MalformedImageError
from imaging.containers.formats import SIGNATURE_BYTES, format_of, walk
from imaging.containers.limits import PixelLimits
from imaging.decoding.jobs import WALL_PER_CPU, Job
from imaging.decoding.memory_file import memory_file
from imaging.decoding.pool import DecoderPool
from imaging.stripping.formats import strip
from s3_client import sha256_of

# Smaller files are copied; larger ones on disk are mapped.
_COPIED_BYTES = 1024 * 1024
# Limits of one decoding, sufficient for every picture of MAX_PIXELS that is not hostile
CPU_SECONDS = 1.5
MEMORY_BYTES = 200 * 1024 * 1024
# Files walked at once. Their mapped pages count as memory of the process.
_WALKS = 2

_Size = tuple[int, int]


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """The metadata of an accepted image; width and height are those that viewers display.

    `extension` is that of the file name if it belongs to the format, otherwise the format's first.
    """

    size_bytes: int
    sha256: str
    extension: str
    content_type: str
    width: int
    height: int


class Inspector:
    """Accepts or refuses files according to the settings; shared by all threads."""

    def __init__(
        self,
        settings: Settings,
        *,
        cpu_seconds: float = CPU_SECONDS,
        memory_bytes: int = MEMORY_BYTES,
    ) -> None:
        """Limit the CPU time of each decoding, and its memory beside the file."""
        self._settings = settings
        self._cpu_seconds, self._memory_bytes = cpu_seconds, memory_bytes
        self._strips = settings.strip_metadata == "all"
        self._decoders = DecoderPool()
        self._walking = threading.BoundedSemaphore(_WALKS)

    def close(self) -> None:
        """End the decoder processes."""
        self._decoders.close()

    def _kind(self, file: IO[bytes], named: str | None) -> tuple[Format, str]:
        """Return format and extension by the first bytes. Raises NotAnImageError."""
        file.seek(0)
        name = format_of(file.read(SIGNATURE_BYTES)) or (FORMATS[named].name if named else None)
        if name is None:
            raise NotAnImageError("The file does not begin like an image in an accepted format.")
        fitting = [e for e in self._settings.allowed_extensions if FORMATS[e].name == name]
        if not fitting:
            raise NotAnImageError(f"The file is a {name.upper()} image: not accepted here.")
        extension = named if named and named in fitting else fitting[0]
        return FORMATS[extension], extension

    def inspect(
        self, file: IO[bytes], extension: str | None, media_type: str | None = None
    ) -> ImageInfo:
        """Describe `file`; with STRIP_METADATA, strip it first.

        `extension` is that of the file name (lower case, no dot), or None without a name. The file
        must have the `media_type`, if one is given. Raises ExtensionNotAllowedError,
        UnsupportedMediaTypeError, ImageTooLargeError, TooManyPixelsError, DecodingTooCostlyError or
        NotAnImageError; OverloadedError or OutOfResourcesError if the file cannot be inspected now.
        """
        named = self.require_allowed(extension) if extension is not None else None
        size = file.seek(0, os.SEEK_END)
        if size == 0:
            raise NotAnImageError("The file is empty.")
        if size > self._settings.max_upload_bytes:
            raise ImageTooLargeError.of(self._settings.max_upload_bytes)
        image_format, extension = self._kind(file, named)
        if media_type not in {None, image_format.media_type}:
            raise UnsupportedMediaTypeError(
                f"The file is {image_format.media_type}, but its Content-Type is {media_type}."
            )
        examine = self._decode if self._settings.inspection == "full" else self._walk
        try:
            width, height = examine(file, size, image_format.name)
        except MalformedImageError as exc:
            raise NotAnImageError(
                f"The file is not a whole, valid {extension} image: {exc}."
            ) from exc
        size = file.seek(0, os.SEEK_END)  # discards the buffer of an unstripped file, too
        return ImageInfo(size, sha256_of(file), extension, image_format.media_type, width, height)

    def require_allowed(self, extension: str) -> str:
        """Return the common spelling of an extension. Raises ExtensionNotAllowedError."""
        named, allowed = ALIASES.get(extension, extension), self._settings.allowed_extensions
        if named not in allowed:
            raise ExtensionNotAllowedError(
                f"The file name must end in one of these extensions: {', '.join(allowed)}."
            )
        return named

    def _walk(self, file: IO[bytes], size: int, image_format: str) -> _Size:
        limits = PixelLimits(self._settings.max_pixels, self._settings.max_animation_pixels)
        with self._walking, _content(file, size) as content:
            outline = walk(content, image_format, limits)
            if self._strips:
                strip(content, outline, file)
        return outline.shown

    def _decode(self, file: IO[bytes], size: int, image_format: str) -> _Size:
        settings = self._settings
        job = Job(
            image_format,
            frame_pixels=settings.max_pixels,
            animation_pixels=settings.max_animation_pixels,
            memory=self._memory_bytes,
            cpu_seconds=self._cpu_seconds,
            seconds=self._cpu_seconds * WALL_PER_CPU,
            strips=self._strips,
        )
        with _shareable(file, size) as shared:
            result = self._decoders.decode(job, shared.fileno())
            if result.is_stripped and shared is not file:
                _replace(file, shared)
        return result.width, result.height


def _is_mappable(file: IO[bytes], size: int) -> bool:
    return size > _COPIED_BYTES and not isinstance(file, io.BytesIO)


@contextmanager
def _content(file: IO[bytes], size: int) -> Iterator[Content]:
    if not _is_mappable(file, size):
        file.seek(0)
        yield file.read()  # does not copy a BytesIO
        return
    with mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ) as content:
        yield content


@contextmanager
def _shareable(file: IO[bytes], size: int) -> Iterator[IO[bytes]]:
    """Yield a file, or a copy of it, with a descriptor that another process can map."""
    if _is_mappable(file, size):
        yield file
        return
    file.seek(0)
    with memory_file() as copy:
        copy.write(file.read())
        copy.flush()
        yield copy


def _replace(file: IO[bytes], copy: IO[bytes]) -> None:
    copy.seek(0)
    file.seek(0)
    file.truncate()  # frees memory before the copy takes it
    file.write(copy.read())
