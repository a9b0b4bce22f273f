"""Files made to break the service are refused, or accepted, at a bounded price."""

from collections.abc import Iterator

import pytest

from services.inspection import Inspector
from tests.support import pictures
from tests.support.hostile_pictures import HOSTILE, inflating
from tests.support.inspections import inspecting, verdict

_CPU_SECONDS = 2.0
_PEAK_BYTES = 300 * 1024 * 1024


@pytest.fixture(scope="module")
def inspector() -> Iterator[Inspector]:
    """Return an inspector whose decoder runs already."""
    with inspecting() as inspector:
        verdict(inspector, pictures.jpeg(), "jpg")
        yield inspector


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile(inspector: Inspector, name: str) -> None:
    """Each gets its answer within 2 seconds of CPU and 300 MB of memory."""
    make, expected = HOSTILE[name]
    content = make()
    found = verdict(inspector, content, name.rpartition(".")[2])
    assert found.verdict == expected, found.detail
    assert found.peak_bytes < _PEAK_BYTES
    assert found.cpu_seconds < _CPU_SECONDS + 0.2  # that of the decoder that may start anew


def test_the_deepest_png() -> None:
    """400 MB of pixels take no more memory; whether the CPU time suffices depends on the host."""
    with inspecting(inspection_cpu_seconds=30.0) as inspector:
        found = verdict(inspector, inflating(1, 16), "png")
    assert found.verdict == "accepted", found.detail
    assert found.peak_bytes < _PEAK_BYTES


@pytest.mark.parametrize(
    "name", [name for name, (_, said) in HOSTILE.items() if said != "accepted"]
)
def test_hostile_by_header(name: str) -> None:
    """Without decoding, what the container tells is refused all the same, at a bounded price."""
    make, expected = HOSTILE[name]
    with inspecting(inspection="header") as inspector:
        found = verdict(inspector, make(), name.rpartition(".")[2])
    if expected in {"NotAnImageError", "TooManyPixelsError"} and "an end" not in name:
        assert found.verdict == expected, found.detail
    assert found.cpu_seconds < _CPU_SECONDS
