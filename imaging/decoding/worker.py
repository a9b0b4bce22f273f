"""The decoder process. It handles one file at a time, and exits when idle or without its service.

A file that exceeds the limits of its job ends this process, not the service. RLIMIT_AS limits
memory. Timers limit CPU and wall-clock time; nothing here catches their signals, so they stop any
loop in any library.
"""

import json
import mmap
import os
import resource
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path

from PIL import Image

from errors import TooManyPixelsError
from imaging.containers.content import MalformedImageError
from imaging.containers.formats import walk
from imaging.containers.limits import PixelLimits
from imaging.decoding.jobs import Job, JobOutcome, Result
from imaging.decoding.pixels import decode
from imaging.rendering.picture import render_picture
from imaging.stripping.formats import strip

_MESSAGE_BYTES = 4096
_IDLE_SECONDS = 10.0
# Lower priority than the service, so that inspections do not delay reads
_NICENESS = 5
# Lower still, because the client of an upload waits for its inspection
_NICENESS_OF_VARIANTS = 10
_SLACK_BYTES = 16 * 1024 * 1024


def main() -> None:
    """Run the jobs that arrive with their file descriptors on the socket in argv."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C; the service ends this process
    os.nice(_NICENESS)
    Image.init()
    with suppress(OSError):  # the first choice of the kernel when memory runs out
        Path("/proc/self/oom_score_adj").write_text("500")
    at_rest = _address_space()
    # Idle for too long, or the service was killed, possibly in the middle of a job
    ended = suppress(TimeoutError, ConnectionError)
    with socket.socket(fileno=int(sys.argv[1])) as service, ended:
        service.settimeout(_IDLE_SECONDS)
        while True:
            message, files, _, _ = socket.recv_fds(service, _MESSAGE_BYTES, 2)
            if not message:
                return
            job = Job(*json.loads(message))
            _limit_time(job.cpu_seconds, job.seconds)
            result = _examine(job, files, at_rest)
            _limit_time(0, 0)
            service.send(json.dumps(result).encode())


def _address_space() -> int | None:
    """Return the bytes of address space that this process uses; None without /proc."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[0]) * mmap.PAGESIZE
    except OSError:
        return None


def _limit_time(cpu_seconds: float, seconds: float) -> None:
    """Start the timers that end this process; 0 stops them."""
    signal.setitimer(signal.ITIMER_PROF, cpu_seconds)
    signal.setitimer(signal.ITIMER_REAL, seconds)


def _examine(job: Job, files: list[int], at_rest: int | None) -> Result:
    Image.MAX_IMAGE_PIXELS = job.frame_pixels  # Pillow checks what the walk has checked
    try:
        if at_rest is not None:
            _bound_memory(at_rest + os.fstat(files[0]).st_size + job.memory + _SLACK_BYTES)
        # Private and writable, which the binding of libwebp requires although it only reads
        content = mmap.mmap(files[0], 0, access=mmap.ACCESS_COPY)
        return _render(job, content, files[1]) if job.encoding else _decode(job, content, files[0])
    except MemoryError:
        return Result(JobOutcome.NEEDS_MEMORY)
    except MalformedImageError as exc:
        return Result(JobOutcome.MALFORMED, reason=str(exc))
    except TooManyPixelsError as exc:
        return Result(JobOutcome.TOO_MANY_PIXELS, reason=exc.detail)
    finally:
        for descriptor in files:
            os.close(descriptor)


def _bound_memory(soft: int) -> None:
    """Set the soft limit of the address space, which may not exceed the hard limit."""
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    soft = soft if hard == resource.RLIM_INFINITY else min(soft, hard)
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def _render(job: Job, content: mmap.mmap, output: int) -> Result:
    niceness = os.getpriority(os.PRIO_PROCESS, 0)
    os.setpriority(os.PRIO_PROCESS, 0, max(niceness, _NICENESS_OF_VARIANTS))
    with open(output, "wb", closefd=False) as file:
        # An attempt with less memory may have left output, and its offset, behind.
        file.seek(0)
        file.truncate()
        size = render_picture(content, job.image_format, job, job.encoding, file, job.memory)
    return Result(JobOutcome.DECODED, *size)


def _decode(job: Job, content: mmap.mmap, descriptor: int) -> Result:
    limits = PixelLimits(job.frame_pixels, job.animation_pixels)
    outline = walk(content, job.image_format, limits)
    if outline.decoded_bytes > job.memory:
        return Result(JobOutcome.NEEDS_MEMORY)
    decode(content, outline)
    if not job.strips:
        return Result(JobOutcome.DECODED, *outline.shown)
    with open(descriptor, "r+b", closefd=False) as file:
        is_stripped = strip(content, outline, file)
    return Result(JobOutcome.DECODED, *outline.shown, is_stripped=is_stripped)


if __name__ == "__main__":
    main()
