"""The folder in which the workers of a service store their metrics, so that any can add them up.

A worker takes the lowest number that no running worker has, and continues the files of the previous
worker with that number. Replacing a worker loses no count and leaves no file behind.
"""

import fcntl
import itertools
import multiprocessing
import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

from errors import ConfigurationError

_PREFIX = "image-api-metrics-"
# Enough for all possible series. The space is allocated in advance, because writing to a mapped
# page on a full disk kills the process (mmap(2), SIGBUS).
_FILE_BYTES = {"counter": 512 * 1024, "histogram": 1024 * 1024, "gauge_livesum": 64 * 1024}


class SharedFolder:
    """The place of a worker in the folder. No other process has its `number` while it runs."""

    def __init__(self, chosen: Path | None) -> None:
        """Take a place in `chosen`, or in the supervisor's folder. Raises ConfigurationError."""
        self.path = chosen or _own_folder()
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            owner = self.path.lstat().st_uid
            if self.path.name.startswith(_PREFIX) and owner != os.geteuid():
                raise PermissionError(f"{self.path} belongs to another user")
            self._lock, self.number = next(
                (lock, number)
                for number in itertools.count()
                if (lock := _lock(self._lock_file(number))) is not None
            )
            # The gauges of the previous worker ended with it.
            (self.path / f"gauge_livesum_{self.number}.db").unlink(missing_ok=True)
            for kind, size in _FILE_BYTES.items():
                _reserve(self.path / f"{kind}_{self.number}.db", size)
        except OSError as exc:
            raise ConfigurationError(
                f"Configuration: PROMETHEUS_MULTIPROC_DIR: metrics cannot be kept: {exc}."
            ) from exc
        # Below a supervisor, the next worker continues the files.
        self._is_temporary = chosen is None and multiprocessing.parent_process() is None
        _remove_orphaned()

    def _lock_file(self, number: int) -> Path:
        return self.path / f"{number}.lock"

    def close(self) -> None:
        """Release the place to the next worker."""
        if self._is_temporary:
            shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._lock)

    def is_intact(self) -> bool:
        """Whether the files of this worker are still in the folder."""
        with suppress(OSError):
            return os.path.samestat(os.fstat(self._lock), self._lock_file(self.number).stat())
        return False

    def vacant_numbers(self) -> list[int]:
        """Return the numbers of the workers that ended and were not replaced."""
        locks = [file for file in self.path.glob("*.lock") if file.stem.isdecimal()]
        return [int(file.stem) for file in locks if not _is_locked(file)]


def _own_folder() -> Path:
    """Return the folder shared by the workers of one supervisor, or the folder of this process.

    uvicorn starts its workers with `multiprocessing`. Process ids are reused, so the name includes
    the start time.
    """
    supervisor = multiprocessing.parent_process()
    leader = str(supervisor.pid if supervisor else os.getpid())
    return Path(tempfile.gettempdir()) / f"{_PREFIX}{os.geteuid()}-{leader}-{_started(leader)}"


def _started(pid: str) -> str:
    """Return when a process started, in clock ticks since boot (proc(5)); `0` if it has ended."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    return "0"


def _remove_orphaned() -> None:
    """Remove the folders whose supervisor and workers have ended."""
    for path in Path(tempfile.gettempdir()).glob(f"{_PREFIX}{os.geteuid()}-*"):
        *_, leader, started = path.name.split("-")
        if started == "0" or _started(leader) == started:
            continue
        with suppress(OSError):  # another worker removes it at the same time
            ours = path.lstat().st_uid == os.geteuid()
            if ours and not any(map(_is_locked, path.glob("*.lock"))):
                shutil.rmtree(path)


def _is_locked(file: Path) -> bool:
    if (lock := _lock(file)) is not None:
        os.close(lock)
    return lock is None


def _lock(file: Path) -> int | None:
    """Lock a file until this process ends; return None if another process has locked it."""
    lock = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    return lock


def _reserve(file: Path, size: int) -> None:
    """Create a file of `size` zero bytes, allocated on disk, unless it exists."""
    if file.exists():
        return
    new = file.with_suffix(".new")
    with new.open("wb") as opened:
        os.posix_fallocate(opened.fileno(), 0, size)
    new.rename(file)
