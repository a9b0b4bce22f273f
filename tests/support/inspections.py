"""Runs inspections as the service does, and measures CPU time and memory."""

import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from config import FORMATS, Settings, VariantSpec
from devstack.service_process import ROOT
from errors import ServiceError
from imaging.decoding.variant_maker import VariantMaker
from resources import build_variant_maker
from services.inspection import CPU_SECONDS, MEMORY_BYTES, Inspector

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Inspection:
    """The verdict of an inspection ("accepted" or the name of the error) and its cost."""

    verdict: str
    detail: str
    extension: str
    size: tuple[int, int]
    cpu_seconds: float
    peak_bytes: int


@dataclass(frozen=True)
class Rendering:
    """What became of a variant ("made" or the name of the error), and its cost."""

    verdict: str
    detail: str
    cpu_seconds: float


@contextmanager
def inspecting(
    *, cpu_seconds: float = CPU_SECONDS, memory_bytes: int = MEMORY_BYTES, **changes: object
) -> Iterator[Inspector]:
    """Yield an inspector with these bounds, and the default settings with these changes."""
    settings = Settings(db_url="sqlite:///none.db", aws_region="none", aws_s3_bucket="none")
    inspector = Inspector(
        settings.model_copy(update=changes), cpu_seconds=cpu_seconds, memory_bytes=memory_bytes
    )
    yield inspector
    inspector.close()


@contextmanager
def making() -> Iterator[VariantMaker]:
    """Yield a maker of variants with the default settings."""
    maker = build_variant_maker(
        Settings(db_url="sqlite:///none.db", aws_region="none", aws_s3_bucket="none")
    )
    yield maker
    maker.close()


def verdict(inspector: Inspector, content: bytes, extension: str) -> Inspection:
    """Inspect a file as an upload; `peak_bytes` is the decoders' memory above their idle level."""
    before, rest = _cpu_seconds(), _resident(peak=False)
    _forget_peaks()
    with _spooled(content) as file:
        try:
            info = inspector.inspect(file, extension)
            said, detail, size = "accepted", "", (info.width, info.height)
            extension = info.extension
        except ServiceError as error:
            said, detail, size = type(error).__name__, error.detail, (0, 0)
    spent = _cpu_seconds() - before
    return Inspection(said, detail, extension, size, spent, max(0, _resident(peak=True) - rest))


def rendering(
    maker: VariantMaker, content: bytes, found: Inspection, spec: str, encoding: str
) -> Rendering:
    """Make a variant of an accepted file as the service does."""
    before = _cpu_seconds()
    pixels = found.size[0] * found.size[1]
    with tempfile.TemporaryFile() as file:
        file.write(content)
        file.flush()
        try:
            image_format, box = FORMATS[found.extension].name, VariantSpec.parse(spec)
            maker.make(file, image_format, pixels, box, encoding)
            said, detail = "made", ""
        except ServiceError as error:
            said, detail = type(error).__name__, error.detail
    return Rendering(said, detail, _cpu_seconds() - before)


@contextmanager
def _spooled(content: bytes) -> Iterator[IO[bytes]]:
    with tempfile.SpooledTemporaryFile(max_size=512 * 1024) as file:
        file.write(content)
        yield file


def decoders(service: int | None = None) -> list[int]:
    """Return the process ids of the decoders of a service, by default of this process."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # the process has ended in the meantime
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
            command = stat.with_name("cmdline").read_bytes()
            if parent == (service or os.getpid()) and b"imaging.decoding.worker" in command:
                found.append(int(stat.parent.name))
    return found


def _cpu_seconds() -> float:
    own, ended = (
        resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    total = own.ru_utime + own.ru_stime + ended.ru_utime + ended.ru_stime
    for pid in decoders():
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += (int(fields[11]) + int(fields[12])) / _TICKS_PER_SECOND
    return total


def _forget_peaks() -> None:
    for pid in decoders():
        Path(f"/proc/{pid}/clear_refs").write_text("5")  # resets VmHWM (proc(5))


def _resident(*, peak: bool) -> int:
    field, total = "VmHWM:" if peak else "VmRSS:", 0
    for pid in decoders():
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(field):
                total += int(line.split()[1]) * 1024
    return total


def output_of(program: str, content: bytes) -> bytes:
    """Run a Python program that uses `imaging` in a process of its own; return what it prints.

    `content` is its standard input.
    """
    command = [sys.executable, "-c", program]
    return subprocess.run(command, cwd=ROOT, input=content, capture_output=True, check=True).stdout
