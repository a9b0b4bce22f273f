"""Hostile files are accepted or refused within bounds of CPU time and memory."""

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
    """Return an inspector with a running decoder."""
    with inspecting() as inspector:
        verdict(inspector, pictures.jpeg(), "jpg")
        yield inspector


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile(inspector: Inspector, name: str) -> None:
    """The file gets its verdict within 2 s of CPU and 300 MB of memory."""
    make, expected = HOSTILE[name]
    content = make()
    found = verdict(inspector, content, name.rpartition(".")[2])
    assert found.verdict == expected, found.detail
    assert found.peak_bytes < _PEAK_BYTES
    assert found.cpu_seconds < _CPU_SECONDS + 0.2  # for a decoder that may restart


def test_the_deepest_png() -> None:
    """400 MB of pixels stay within the memory bound. The CPU limit is raised for slow hosts."""
    with inspecting(cpu_seconds=30.0) as inspector:
        found = verdict(inspector, inflating(1, 16), "png")
    assert found.verdict == "accepted", found.detail
    assert found.peak_bytes < _PEAK_BYTES


@pytest.mark.parametrize(
    "name", [name for name, (_, expected) in HOSTILE.items() if expected != "accepted"]
)
def test_hostile_by_header(name: str) -> None:
    """Inspection by header refuses what the container shows, within the CPU bound."""
    make, expected = HOSTILE[name]
    with inspecting(inspection="header") as inspector:
        found = verdict(inspector, make(), name.rpartition(".")[2])
    if expected in {"NotAnImageError", "TooManyPixelsError"} and "an end" not in name:
        assert found.verdict == expected, found.detail
    assert found.cpu_seconds < _CPU_SECONDS
