"""Fuzzes inspection and variants with random files that mostly follow their format.

    python -m tests.tools.fuzz_inspection --minutes 30

A finding is a file that takes more than 2 seconds of CPU or 300 MB of memory, exceeds its deadline,
crashes its decoder, or causes an unexpected error. So is an accepted file without variants, or with
one that takes more than 2 seconds of CPU. Accepted files that Pillow cannot decode, or reads with
another size, are printed as well. The seed of a file reproduces it.
"""

# ruff: noqa: T201 - this command prints its results

import argparse
import io
import logging
import sys
import time
import warnings
from collections import Counter
from collections.abc import Iterator

from PIL import ExifTags, Image, PngImagePlugin

from imaging.decoding.variant_maker import VariantMaker
from services.inspection import Inspector
from tests.support.inspections import Inspection, inspecting, making, rendering, verdict
from tests.support.picture_grammars import generate

SPECS = ("16", "320", "320x320-crop", "2048")
ENCODINGS = ("jpg", "png", "webp", "avif")
VERDICTS = {"accepted", "NotAnImageError", "TooManyPixelsError", "DecodingTooCostlyError"}
_CPU_SECONDS, _PEAK_BYTES, _DEADLINE_SECONDS = 2.0, 300 * 1024 * 1024, 10.0
_COMPARED_PIXELS = 3_000_000


class _Listener(logging.Handler):
    """Collects the log messages of the pool about decoders that ended."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


def broken_bounds(found: Inspection, seconds: float) -> Iterator[str]:
    """Yield each bound that an inspection of this duration exceeded."""
    if found.verdict not in VERDICTS:
        yield f"the verdict is {found.verdict}: {found.detail}"
    if found.cpu_seconds > _CPU_SECONDS:
        yield f"it takes {found.cpu_seconds:.2f} s of CPU"
    if found.peak_bytes > _PEAK_BYTES:
        yield f"it takes {found.peak_bytes >> 20} MB"
    if seconds > _DEADLINE_SECONDS:
        yield f"it takes {seconds:.1f} s"


def disagreements(found: Inspection, content: bytes) -> Iterator[str]:
    """Yield each difference between Pillow and an inspection that accepted the file."""
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


def failed_variants(
    maker: VariantMaker, content: bytes, found: Inspection, seed: int
) -> Iterator[str]:
    """Ask for two variants of an accepted file, which differ from seed to seed; yield faults."""
    if found.verdict != "accepted":
        return
    for choice in (seed, seed + 5):
        spec, encoding = SPECS[choice % 4], ENCODINGS[choice // 4 % 4]
        made = rendering(maker, content, found, spec, encoding)
        if made.verdict != "made":
            yield f"its variant {spec}.{encoding} is {made.verdict}: {made.detail}"
        if made.cpu_seconds > _CPU_SECONDS:
            yield f"its variant {spec}.{encoding} takes {made.cpu_seconds:.2f} s of CPU"


def inspect_seed(
    inspector: Inspector, maker: VariantMaker, seed: int
) -> tuple[str, Inspection, list[str], list[str]]:
    """Inspect the file of a seed and make variants of it if it is accepted.

    Returns extension, inspection, findings and disagreements.
    """
    extension, content = generate(seed)
    start = time.monotonic()
    found = verdict(inspector, content, extension)
    findings = list(broken_bounds(found, time.monotonic() - start))
    findings += failed_variants(maker, content, found, seed)
    return extension, found, findings, list(disagreements(found, content))


def main() -> None:
    """Run the fuzzer for the given time; exit with 1 if it has findings."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--seed", type=int, default=int(time.time()) * 10**6)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    Image.MAX_IMAGE_PIXELS = None
    PngImagePlugin.MAX_TEXT_CHUNK = 10**9
    listener, counts, bad = _Listener(), Counter[tuple[str, str]](), 0
    logging.getLogger("image_api").addHandler(listener)
    worst_cpu, worst_peak, differing = 0.0, 0, 0
    end, seed = time.monotonic() + options.minutes * 60, options.seed
    with inspecting() as inspector, making() as maker:
        while time.monotonic() < end:
            extension, found, findings, others = inspect_seed(inspector, maker, seed)
            findings += listener.messages
            listener.messages = []
            counts[extension, found.verdict] += 1
            worst_cpu = max(worst_cpu, found.cpu_seconds)
            worst_peak = max(worst_peak, found.peak_bytes)
            for line in findings:
                print(f"FOUND seed {seed} {extension}: {line}", flush=True)
            for line in others:
                print(f"differs: seed {seed} {extension}: {line}", flush=True)
            bad, differing, seed = bad + bool(findings), differing + bool(others), seed + 1
    for (extension, found_verdict), count in sorted(counts.items()):
        print(f"{extension:5} {found_verdict:24} {count:8}")
    print(f"{sum(counts.values())} files, {bad} findings, {differing} differences from Pillow")
    print(f"at most {worst_cpu:.2f} s of CPU and {worst_peak >> 20} MB above the idle level")
    sys.exit(bool(bad))


if __name__ == "__main__":
    main()
