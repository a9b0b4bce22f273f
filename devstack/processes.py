"""Child processes that end with their parent, and directories that one process may use at a time.

Linux only, for the sake of PR_SET_PDEATHSIG.
"""

import ctypes
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_PR_SET_PDEATHSIG = 1

_libc = ctypes.CDLL(None, use_errno=True)


class DirectoryInUseError(RuntimeError):
    """Another process holds the directory; the message is written for a person."""


@contextmanager
def exclusive(directory: Path, *, patience: float = 0.0) -> Iterator[int]:
    """Hold `directory` against every other process that asks; yield the lock's file descriptor.

    The kernel releases it when the last process that has the descriptor dies.
    Raises DirectoryInUseError when it is still held after `patience` seconds.
    """
    lock = os.open(directory / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    deadline = time.monotonic() + patience
    try:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise DirectoryInUseError(
                        f"{directory} is in use by another process; stop that one first."
                    ) from None
                time.sleep(0.05)
        yield lock
    finally:
        os.close(lock)


def die_with_parent(parent: int, signum: int) -> None:
    """Let the kernel send us `signum` when our parent, whose process id is `parent`, dies."""
    _libc.prctl(_PR_SET_PDEATHSIG, signum, 0, 0, 0)
    if os.getppid() != parent:  # it died before we asked
        os.kill(os.getpid(), signum)


def dies_with_parent(signum: int) -> Callable[[], None]:
    """Return what a child runs before exec, so that it gets `signum` when its parent dies."""
    return lambda: _libc.prctl(_PR_SET_PDEATHSIG, signum)
