"""Memory settings of the C library and the interpreter: docs/decisions/011-memory-tuning.md."""

import ctypes
import gc
from contextlib import suppress

_NEW_OBJECTS_PER_COLLECTION = 5000
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # malloc.h


def tune_gc() -> None:
    """Exclude the objects of startup from garbage collection, and collect less often."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_NEW_OBJECTS_PER_COLLECTION, *gc.get_threshold()[1:])


def tune_malloc() -> None:
    """Make glibc use one arena and keep blocks of usual sizes (mallopt(3)); no effect elsewhere."""
    with suppress(OSError, AttributeError):
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(_M_ARENA_MAX, 1)
        libc.mallopt(_M_TRIM_THRESHOLD, 16 * 1024 * 1024)
        libc.mallopt(_M_MMAP_THRESHOLD, 4 * 1024 * 1024)
