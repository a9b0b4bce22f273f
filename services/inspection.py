"""What the bytes are: size, SHA-256, format, width and height; and whether we accept them.

The content decides, never the client's word. Its container is walked to its end by our own code,
which finds the size and refuses what is cut or takes too much; and, unless the deployment trusts
its uploaders, every pixel must decode, in a process that can be given up.
"""

import hashlib
import io
import mmap
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO

from config import Settings
from errors import ExtensionNotAllowedError, ImageTooLargeError, NotAnImageError
from imaging.containers.content import Content, MalformedImageError
from imaging.containers.formats import SIGNATURE_BYTES, format_of, walk
from imaging.containers.limits import PixelLimits
from imaging.decoding.jobs import Job
from imaging.decoding.memory_file import memory_file
from imaging.decoding.pool import DecoderPool

# Up to here a file is copied to where it is wanted; larger ones that lie on disk are mapped.
_COPIED_BYTES = 1024 * 1024
# So many files are walked at once: while one is, its mapped pages count as memory of the process.
_WALKS = 2
# What browsers and systems call files of these formats besides.
_ALIASES = {
    **dict.fromkeys(("jfif", "jpe", "jif", "jfi", "pjpeg", "pjp"), "jpg"),
    "apng": "png",
}
# How much longer than its CPU time a decoder may take: others want the CPU, too.
_PATIENCE = 5

# Width and height as shown, and the SHA-256.
_Examined = tuple[tuple[int, int], str]


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """What an accepted image is; width and height as viewers show it.

    The extension is that of the file's name if it fits the format, otherwise the format's own.
    """

    size_bytes: int
    sha256: str
    extension: str
    content_type: str
    width: int
    height: int


class Inspector:
    """Accepts or refuses files by the rules of the settings; shared by all threads."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._decoders = DecoderPool()
        self._walking = threading.BoundedSemaphore(_WALKS)

    def close(self) -> None:
        """End the decoder processes."""
        self._decoders.close()

    def require_allowed(self, extension: str) -> None:
        """Raise ExtensionNotAllowedError unless the deployment accepts `extension`."""
        allowed = self._settings.allowed_extensions
        if _ALIASES.get(extension, extension) not in allowed:
            raise ExtensionNotAllowedError(
                f"The file name must end in one of these extensions: {', '.join(allowed)}."
            )

    def _kind(self, file: IO[bytes], extension: str) -> tuple[str, str]:
        """Return format and extension of a file: what its first bytes say, whatever its name.

        Raises NotAnImageError if the deployment does not accept that format.
        """
        file.seek(0)
        named = _ALIASES.get(extension, extension)
        image_format = format_of(file.read(SIGNATURE_BYTES)) or _format(named)
        fitting = [e for e in self._settings.allowed_extensions if _format(e) == image_format]
        if not fitting:
            raise NotAnImageError(f"The file is a {image_format.upper()} image: not accepted here.")
        return image_format, named if named in fitting else fitting[0]

    def inspect(self, file: IO[bytes], extension: str) -> ImageInfo:
        """Say what `file` is, whose name ends in `extension` (lower case, no dot).

        The content decides: a PNG that is called .jpg is a PNG.

        Raises ExtensionNotAllowedError, ImageTooLargeError, TooManyPixelsError,
        DecodingTooCostlyError or NotAnImageError; OverloadedError or OutOfResourcesError when
        nothing can be said now.
        """
        self.require_allowed(extension)
        size = file.seek(0, os.SEEK_END)
        if size == 0:
            raise NotAnImageError("The file is empty.")
        if size > self._settings.max_upload_bytes:
            raise ImageTooLargeError(
                f"An image may have at most {self._settings.max_upload_bytes} bytes."
            )
        image_format, extension = self._kind(file, extension)
        examine = self._decode if self._settings.inspection == "full" else self._walk
        try:
            (width, height), sha256 = examine(file, size, image_format)
        except MalformedImageError as exc:
            raise NotAnImageError(
                f"The file is not a whole, valid {extension} image: {exc}."
            ) from exc
        return ImageInfo(size, sha256, extension, f"image/{image_format}", width, height)

    def _walk(self, file: IO[bytes], size: int, image_format: str) -> _Examined:
        limits = PixelLimits(self._settings.max_pixels, self._settings.max_animation_pixels)
        with self._walking, _content(file, size) as content:
            shown = walk(content, image_format, limits).shown
            return shown, hashlib.sha256(content).hexdigest()

    def _decode(self, file: IO[bytes], size: int, image_format: str) -> _Examined:
        settings = self._settings
        job = Job(
            image_format,
            frame_pixels=settings.max_pixels,
            animation_pixels=settings.max_animation_pixels,
            memory=settings.inspection_memory_bytes,
            cpu_seconds=settings.inspection_cpu_seconds,
            seconds=settings.inspection_cpu_seconds * _PATIENCE,
        )
        with _descriptor(file, size) as descriptor:
            result = self._decoders.decode(job, descriptor)
        file.seek(0)
        digest = hashlib.file_digest(file, "sha256")  # type: ignore[arg-type]
        return (result.width, result.height), digest.hexdigest()


def _format(extension: str) -> str:
    return "jpeg" if extension == "jpg" else extension


def _is_mappable(file: IO[bytes], size: int) -> bool:
    return size > _COPIED_BYTES and not isinstance(file, io.BytesIO)


@contextmanager
def _content(file: IO[bytes], size: int) -> Iterator[Content]:
    if not _is_mappable(file, size):
        file.seek(0)
        yield file.read()  # of a BytesIO no copy
        return
    with mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ) as content:
        yield content


@contextmanager
def _descriptor(file: IO[bytes], size: int) -> Iterator[int]:
    """Yield a descriptor of a file with the content, for another process to map."""
    if _is_mappable(file, size):
        yield file.fileno()
        return
    file.seek(0)
    with memory_file() as copy:
        copy.write(file.read())
        copy.flush()
        yield copy.fileno()
