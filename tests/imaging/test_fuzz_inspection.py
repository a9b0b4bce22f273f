"""A short fuzzing run of inspection and variants, and the seeds of earlier failures."""

from collections.abc import Iterator

import pytest

from imaging.decoding.variant_maker import VariantMaker
from services.inspection import Inspector
from tests.support.inspections import inspecting, making
from tests.tools.fuzz_inspection import inspect_seed

# Seeds of fixed faults: a last row or opacity that was not decoded, deflated pixels without an end,
# a second Exif segment, reserved markers, chunks out of order.
_FIXED = [471, 2338, 2397, 2426, 2479, 2651, 2944, 3228, 50017860, 1001203, 1005264, 1017879]


@pytest.fixture(scope="module")
def inspector() -> Iterator[Inspector]:
    """Return an inspector with the default settings."""
    with inspecting() as inspector:
        yield inspector


@pytest.fixture(scope="module")
def maker() -> Iterator[VariantMaker]:
    """Return a maker of variants with the default settings."""
    with making() as maker:
        yield maker


@pytest.mark.parametrize("seed", _FIXED)
def test_fixed(inspector: Inspector, maker: VariantMaker, seed: int) -> None:
    """Earlier failures stay fixed, and Pillow opens every accepted file."""
    *_, findings, disagreements = inspect_seed(inspector, maker, seed)
    assert findings + disagreements == []


def test_many(inspector: Inspector, maker: VariantMaker) -> None:
    """300 mutated files exceed no bound, and all accepted ones have variants.

    Every format has accepted and refused files.
    """
    verdicts = set()
    for seed in range(300):
        extension, found, findings, _ = inspect_seed(inspector, maker, seed)
        assert findings == [], seed
        verdicts.add((extension, found.verdict))
    for extension in ("jpg", "png", "gif", "webp"):
        assert {(extension, "accepted"), (extension, "NotAnImageError")} <= verdicts
