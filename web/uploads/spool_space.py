"""Memory, and space in the temporary directory, for the files of uploads until they are stored."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import SpooledTemporaryFile, gettempdir
from typing import IO

from errors import OutOfResourcesError, OverloadedError
from web.uploads.received_file import PIECE_BYTES

# How much one file, and all files together, may keep in memory; other files go to disk. With 16
# clients uploading 5 MB continuously, RSS peaked at 253 MB with 32 MB for all, at 296 MB with 96.
_MEMORY_BYTES = 8 * 1024 * 1024
_ALL_MEMORY_BYTES = 24 * 1024 * 1024


class SpoolSpace:
    """Memory and disk for the files of this process's uploads. Only the event loop uses it."""

    def __init__(self, processes: int) -> None:
        """Use one of `processes` equal shares of the temporary directory."""
        self._processes = processes
        self._memory = self._disk = 0  # bytes that are reserved
        self._most_free = 0

    @contextmanager
    def file_for(self, announced: int, max_bytes: int) -> Iterator[IO[bytes] | None]:
        """Open a file for a body, or reserve memory for it and yield None.

        The body has `announced` bytes, or at most `max_bytes` if that is 0. Raises OverloadedError
        if other uploads have reserved the disk, OutOfResourcesError if the disk is too small.
        """
        if 0 < announced <= min(_MEMORY_BYTES, _ALL_MEMORY_BYTES - self._memory):
            self._memory += announced
            try:
                yield None
            finally:
                self._memory -= announced
            return
        length = announced or max_bytes
        reserved = self._reserve(length) if length > PIECE_BYTES else 0
        try:
            with SpooledTemporaryFile(max_size=PIECE_BYTES) as file:
                yield file
        finally:
            self._disk -= reserved

    def _reserve(self, length: int) -> int:
        try:
            free = shutil.disk_usage(gettempdir()).free
        except FileNotFoundError as exc:  # from `tempfile`: nothing can be written anywhere
            raise OutOfResourcesError from exc
        # Files of uploads reduce what is free now, but not what was free at most.
        self._most_free = max(self._most_free, free)
        share = self._most_free // self._processes
        if length > share:
            raise OutOfResourcesError("The service has no disk space for an upload of this size.")
        # Take at most half of what the others leave, so that smaller uploads still find room.
        if self._disk and length > (share - self._disk) // 2:
            raise OverloadedError("Too many large uploads at once; try again.")
        self._disk += length
        return length
