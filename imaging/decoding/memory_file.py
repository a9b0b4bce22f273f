"""Files without a name that a decoder process can be handed."""

import os
import tempfile
from typing import IO


def memory_file() -> IO[bytes]:
    """Return an empty file to write and read; in memory where the system has such."""
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("image"), "w+b")
    return tempfile.TemporaryFile()
