"""The decoder processes of this service: started when needed, replaced when a file ends one."""

import json
import logging
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import IO, cast

from errors import (
    DecodingTooCostlyError,
    OutOfResourcesError,
    OverloadedError,
    TooManyPixelsError,
)
from imaging.containers.content import MalformedImageError
from imaging.decoding.jobs import Job, JobOutcome, Result

logger = logging.getLogger("image_api")

_ROOT = Path(__file__).resolve().parent.parent.parent
# Two, so that small pictures do not wait for a large one
_PROCESSES = 2
# Enough for any variant of a 12-megapixel photo. Pictures that need more are decoded one at a time.
_USUAL_BYTES = 96 * 1024 * 1024
_PATIENCE_SECONDS = 30.0
_START_SECONDS = 10.0
_MESSAGE_BYTES = 4096
_CRASHES = {signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL}
# Decoders get no other variables, because those may contain credentials.
_KEPT_VARIABLES = ("PATH", "LD_LIBRARY_PATH", "PYTHONHOME", "PYTHONPATH", "VIRTUAL_ENV")
# Freed blocks of 4 MB return to the kernel at once. With 256 KB a variant took 5 % more CPU.
# Huge pages, where the kernel offers them, save page faults: 8 to 12 % of the CPU of a variant.
_MALLOC = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": "4194304",
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
}


class _HadNoFilesError(Exception):
    """The decoder process exited because it was idle, before it received this file."""


class _Decoder:
    """One decoder process, started when it is needed and not running."""

    def __init__(self) -> None:
        self.end: Callable[[], object] = lambda: None

    def run(self, job: Job, descriptors: Sequence[int]) -> Result:
        """Send a job and its files to the process, and wait for the result.

        Raises MalformedImageError, DecodingTooCostlyError, OverloadedError or OutOfResourcesError
        after the process has ended.
        """
        try:
            with suppress(_HadNoFilesError):
                return self._exchange(job, descriptors)
            return self._exchange(job, descriptors)
        except (OSError, RuntimeError, subprocess.TimeoutExpired) as exc:  # no process or thread
            self.end()
            logger.exception("Could not start or reach a decoder process")
            raise OutOfResourcesError("Images cannot be decoded at the moment.") from exc
        except BaseException:
            self.end()
            raise

    def _exchange(self, job: Job, descriptors: Sequence[int]) -> Result:
        if not getattr(self.end, "alive", False):
            self._start()
        self._socket.settimeout(job.seconds + _START_SECONDS)
        try:
            socket.send_fds(self._socket, [json.dumps(job).encode()], descriptors)
            answer = self._socket.recv(_MESSAGE_BYTES)
        except (BrokenPipeError, ConnectionResetError):
            answer = b""
        if not answer:
            status = self._process.wait(_START_SECONDS)
            self.end()
            raise _cause_of_death(status, job)
        return Result(*json.loads(answer))

    def _start(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with ExitStack() as failed, closing(theirs):
            failed.callback(ours.close)
            self._process = _start_process(theirs)
            failed.callback(_end, self._process, ours)
            threading.Thread(target=_follow, args=[self._process], daemon=True).start()
            failed.pop_all()
        self._socket = ours
        self.end = weakref.finalize(self, _end, self._process, ours)


def _start_process(theirs: socket.socket) -> subprocess.Popen[bytes]:
    kept = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
    return subprocess.Popen(
        [sys.executable, "-m", "imaging.decoding.worker", str(theirs.fileno())],
        cwd=_ROOT,
        env=kept | _MALLOC,
        pass_fds=[theirs.fileno()],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def _follow(process: subprocess.Popen[bytes]) -> None:
    """Log the output of a decoder process, so that the log stays JSON; reap it when it exits."""
    with cast("IO[bytes]", process.stdout) as output:
        while line := output.readline(_MESSAGE_BYTES):
            logger.warning("A decoder process printed: %s", line.decode(errors="replace").rstrip())
    process.wait()


def _end(process: subprocess.Popen[bytes], ours: socket.socket) -> None:
    ours.close()
    process.kill()
    process.wait()


def _cause_of_death(status: int, job: Job) -> Exception:
    """Return the error for the file whose decoder exited; `status` is negative for a signal."""
    if status == 0:
        return _HadNoFilesError()
    if status == -signal.SIGPROF:
        return DecodingTooCostlyError(
            f"Decoding an image may take at most {job.cpu_seconds:g} seconds of CPU time."
        )
    if status == -signal.SIGALRM:
        return OverloadedError("Decoding took too long; try again.")
    logger.error("A decoder process ended with status %d", status)
    if -status in _CRASHES:
        return MalformedImageError("its pixels cannot be decoded")
    return OutOfResourcesError("Images cannot be decoded at the moment.")


class DecoderPool:
    """Decodes files in a few processes; shared by all threads."""

    def __init__(self) -> None:
        self._decoders = [_Decoder() for _ in range(_PROCESSES)]
        # Last in, first out: under low load one process serves all files, and the other exits.
        self._idle: queue.LifoQueue[_Decoder] = queue.LifoQueue()
        for decoder in self._decoders:
            self._idle.put(decoder)
        self._large = threading.Lock()

    def close(self) -> None:
        """End the processes. Waiting calls raise OutOfResourcesError."""
        for decoder in self._decoders:
            decoder.end()

    def decode(self, job: Job, *descriptors: int) -> Result:
        """Decode every pixel of a file, and return its displayed size.

        A variant is written to the second descriptor, and its size is returned. Raises
        MalformedImageError, TooManyPixelsError, DecodingTooCostlyError, OverloadedError or
        OutOfResourcesError.
        """
        usual = min(job.memory, _USUAL_BYTES)
        result = self._run(job._replace(memory=usual), descriptors)
        if _may_need_memory(result, job) and usual < job.memory:
            if not self._large.acquire(timeout=_PATIENCE_SECONDS):
                raise OverloadedError("Too many large pictures at once; try again.")
            try:
                result = self._run(job, descriptors)
            finally:
                self._large.release()
        _raise_refusal(result, job)
        return result

    def _run(self, job: Job, descriptors: Sequence[int]) -> Result:
        try:
            decoder = self._idle.get(timeout=_PATIENCE_SECONDS)
        except queue.Empty:
            raise OverloadedError("Too many pictures at once; try again.") from None
        try:
            return decoder.run(job, descriptors)
        except MalformedImageError as exc:  # it crashed
            return Result(JobOutcome.MALFORMED, reason=str(exc))
        finally:
            self._idle.put(decoder)


def _may_need_memory(result: Result, job: Job) -> bool:
    """Return whether a job may have failed only for lack of memory.

    Variants are made from files that passed inspection. For lack of memory, libjpeg and libwebp
    report a broken file or fail to encode, and libavif crashes.
    """
    if result.outcome == JobOutcome.MALFORMED:
        return bool(job.encoding)
    return result.outcome == JobOutcome.NEEDS_MEMORY


def _raise_refusal(result: Result, job: Job) -> None:
    if result.outcome == JobOutcome.MALFORMED:
        raise MalformedImageError(result.reason)
    if result.outcome == JobOutcome.TOO_MANY_PIXELS:
        raise TooManyPixelsError(result.reason)
    if result.outcome == JobOutcome.NEEDS_MEMORY:
        raise DecodingTooCostlyError(
            f"Decoding an image may take at most {job.memory} bytes of memory."
        )
