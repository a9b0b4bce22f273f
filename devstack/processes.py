"""Child processes that end with their parent, and directories locked by one process.

Linux only, because of PR_SET_PDEATHSIG (prctl(2)).
"""

import ctypes
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from devstack.waiting import wait_until

_PR_SET_PDEATHSIG = 1

_libc = ctypes.CDLL(None, use_errno=True)


class DirectoryInUseError(RuntimeError):
    """Another process holds the directory. The message is written for the user."""


@contextmanager
def exclusive(directory: Path, *, timeout: float = 0.0) -> Iterator[int]:
    """Lock `directory`, created if needed, and yield the lock's file descriptor.

    The kernel releases the lock when the last process that has the descriptor open ends.
    Raises DirectoryInUseError if another process still holds the lock after `timeout` seconds.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = os.open(directory / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        _acquire(lock, directory, timeout)
        yield lock
    finally:
        os.close(lock)


def _acquire(lock: int, directory: Path, timeout: float) -> None:
    try:
        wait_until(lambda: _try_lock(lock), timeout=timeout, what="the lock")
    except TimeoutError:
        raise DirectoryInUseError(
            f"{directory} is in use by another process; stop that process first."
        ) from None


def _try_lock(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def die_with_parent(parent: int, signum: int) -> None:
    """Have the kernel send this process `signum` when its parent, process `parent`, ends.

    For a child, pass it to Popen: `preexec_fn=partial(die_with_parent, os.getpid(), signum)`.
    Linux treats the forking thread as the parent, so that thread must outlive the child.
    """
    _libc.prctl(_PR_SET_PDEATHSIG, signum, 0, 0, 0)
    if os.getppid() != parent:  # the parent ended before the call
        os.kill(os.getpid(), signum)
