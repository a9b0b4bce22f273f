"""The decoder process. It handles one file at a time, and exits when idle or without its service.

A file that exceeds the limits of its job ends this process, not the service. RLIMIT_AS limits
memory. Timers limit CPU and wall-clock time; nothing here catches their signals, so they stop any
loop in any library.
"""

import json
import mmap
import os
import re
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
    """Serve the jobs that arrive, each with a file descriptor, on the socket named in argv."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C; the service ends this process
    os.nice(_NICENESS)
    Image.init()
    _volunteer_for_the_oom_killer()
    at_rest = _address_space()
    # Idle for too long, or the service was killed, perhaps in the middle of a job.
    over = suppress(TimeoutError, ConnectionError)
    with socket.socket(fileno=int(sys.argv[1])) as service, over:
        service.settimeout(_IDLE_SECONDS)
        while True:
            message, files, _, _ = socket.recv_fds(service, _MESSAGE_BYTES, 2)
            if not message:
                return
            job = Job(*json.loads(message))
            _arm(job)
            result = _examine(job, files, at_rest)
            _disarm()
            service.send(json.dumps(result).encode())


def _volunteer_for_the_oom_killer() -> None:
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("500")


def _address_space() -> int:
    """Return the bytes of address space that this process uses; a huge number if unknown."""
    try:
        match = re.search(r"VmSize:\s+(\d+) kB", Path("/proc/self/status").read_text())
    except OSError:
        match = None
    return int(match[1]) * 1024 if match else resource.RLIM_INFINITY


def _arm(job: Job) -> None:
    signal.setitimer(signal.ITIMER_PROF, job.cpu_seconds)
    signal.setitimer(signal.ITIMER_REAL, job.seconds)


def _disarm() -> None:
    signal.setitimer(signal.ITIMER_PROF, 0)
    signal.setitimer(signal.ITIMER_REAL, 0)


def _examine(job: Job, files: list[int], at_rest: int) -> Result:
    Image.MAX_IMAGE_PIXELS = job.frame_pixels  # Pillow checks what the walk has checked
    try:
        _bound_memory(at_rest, os.fstat(files[0]).st_size + job.memory + _SLACK_BYTES)
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


def _bound_memory(at_rest: int, more: int) -> None:
    """Set the soft limit, which may not exceed the hard limit of this process."""
    if at_rest != resource.RLIM_INFINITY:
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        soft = at_rest + more
        soft = soft if hard == resource.RLIM_INFINITY else min(soft, hard)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def _render(job: Job, content: mmap.mmap, output: int) -> Result:
    ours = os.getpriority(os.PRIO_PROCESS, 0)
    os.setpriority(os.PRIO_PROCESS, 0, max(ours, _NICENESS_OF_VARIANTS))
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
