"""Unnamed files that can be passed to a decoder process."""

import os
import tempfile
from typing import IO


def memory_file() -> IO[bytes]:
    """Return an empty file for writing and reading; in memory if the system supports that."""
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("image"), "w+b")
    return tempfile.TemporaryFile()
