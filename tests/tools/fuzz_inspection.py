"""Inspect random files that know their formats, and look for one that breaks a bound.

    python -m tests.tools.fuzz_inspection --minutes 30

A finding is a file that takes more than 2 seconds of CPU or 300 MB of memory, outlives its
deadline, ends its decoder otherwise than by a bound, raises what is no refusal, or is accepted
though Pillow cannot decode it or reads another size. A seed makes its file again.
"""

# ruff: noqa: T201 - run as a command it talks to people by print

import argparse
import io
import logging
import sys
import time
import warnings
from collections import Counter
from collections.abc import Iterator

from PIL import ExifTags, Image, PngImagePlugin

from services.inspection import Inspector
from tests.support.inspections import Inspection, inspecting, verdict
from tests.support.picture_grammars import generate

VERDICTS = {"accepted", "NotAnImageError", "TooManyPixelsError", "DecodingTooCostlyError"}
_CPU_SECONDS, _PEAK_BYTES, _DEADLINE_SECONDS = 2.0, 300 * 1024 * 1024, 10.0
_COMPARED_PIXELS = 3_000_000


class _Listener(logging.Handler):
    """Keeps what the pool says about decoders that ended."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(record.getMessage())


def broken_bounds(found: Inspection, seconds: float) -> Iterator[str]:
    """Say which bounds an inspection broke that took so many seconds."""
    if found.verdict not in VERDICTS:
        yield f"it is answered {found.verdict}: {found.detail}"
    if found.cpu_seconds > _CPU_SECONDS:
        yield f"it takes {found.cpu_seconds:.2f} s of CPU"
    if found.peak_bytes > _PEAK_BYTES:
        yield f"it takes {found.peak_bytes >> 20} MB"
    if seconds > _DEADLINE_SECONDS:
        yield f"it takes {seconds:.1f} s"


def disagreements(found: Inspection, content: bytes) -> Iterator[str]:
    """Say where Pillow reads another picture than was accepted, or none."""
    if found.verdict != "accepted" or found.size[0] * found.size[1] > _COMPARED_PIXELS:
        return
    try:
        with Image.open(io.BytesIO(content)) as picture:
            size = picture.size
            exif = Image.Exif()
            exif.load(picture.info.get("exif", b"") if picture.format != "WEBP" else b"")
            if exif.get(ExifTags.Base.Orientation, 1) in range(5, 9):
                size = size[::-1]
            picture.load()
        if size != found.size:
            yield f"Pillow reads {size}, not {found.size}"
    except Exception as exc:  # noqa: BLE001 - Pillow raises anything
        yield f"Pillow cannot decode it: {exc!r}"


def inspect_seed(inspector: Inspector, seed: int) -> tuple[str, Inspection, list[str], list[str]]:
    """Inspect the file of a seed; return extension, inspection, findings and disagreements."""
    extension, content = generate(seed)
    start = time.monotonic()
    found = verdict(inspector, content, extension)
    findings = list(broken_bounds(found, time.monotonic() - start))
    return extension, found, findings, list(disagreements(found, content))


def main() -> None:
    """Fuzz as long as asked for; exit with 1 when something was found."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--seed", type=int, default=int(time.time()) * 10**6)
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    Image.MAX_IMAGE_PIXELS = None
    PngImagePlugin.MAX_TEXT_CHUNK = 10**9
    listener, counts, bad = _Listener(), Counter[tuple[str, str]](), 0
    logging.getLogger("image_api").addHandler(listener)
    worst_cpu, worst_peak, differing = 0.0, 0, 0
    end, seed = time.monotonic() + asked.minutes * 60, asked.seed
    with inspecting() as inspector:
        while time.monotonic() < end:
            extension, found, findings, others = inspect_seed(inspector, seed)
            findings += listener.said
            listener.said = []
            counts[extension, found.verdict] += 1
            worst_cpu = max(worst_cpu, found.cpu_seconds)
            worst_peak = max(worst_peak, found.peak_bytes)
            for line in findings:
                print(f"FOUND seed {seed} {extension}: {line}", flush=True)
            for line in others:
                print(f"differs: seed {seed} {extension}: {line}", flush=True)
            bad, differing, seed = bad + bool(findings), differing + bool(others), seed + 1
    for (extension, said), count in sorted(counts.items()):
        print(f"{extension:5} {said:24} {count:8}")
    print(f"{sum(counts.values())} files, {bad} findings, {differing} that Pillow reads otherwise")
    print(f"at most {worst_cpu:.2f} s of CPU and {worst_peak >> 20} MB above rest")
    sys.exit(bool(bad))


if __name__ == "__main__":
    main()
