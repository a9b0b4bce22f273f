"""A short run of the fuzz campaign, and the seeds that once found something."""

from collections.abc import Iterator

import pytest

from services.inspection import Inspector
from tests.support.inspections import inspecting
from tests.tools.fuzz_inspection import inspect_seed

# Found on the way: a last row that was not decoded, deflated pixels without an end, opacity that
# was not decoded, the second of two Exif segments, reserved markers, chunks out of order.
_ONCE_FOUND = [471, 2338, 2397, 2426, 2479, 2651, 2944, 3228, 50017860, 1001203, 1005264, 1017879]


@pytest.fixture(scope="module")
def inspector() -> Iterator[Inspector]:
    """Return an inspector with the default settings."""
    with inspecting() as inspector:
        yield inspector


@pytest.mark.parametrize("seed", _ONCE_FOUND)
def test_once_found(inspector: Inspector, seed: int) -> None:
    """What was found once is not found again, and Pillow agrees with what is accepted."""
    *_, findings, disagreements = inspect_seed(inspector, seed)
    assert findings + disagreements == []


def test_many(inspector: Inspector) -> None:
    """No file of some hundreds breaks a bound; most kinds are accepted as well as refused."""
    verdicts = set()
    for seed in range(300):
        extension, found, findings, _ = inspect_seed(inspector, seed)
        assert findings == [], seed
        verdicts.add((extension, found.verdict))
    for extension in ("jpg", "png", "gif", "webp"):
        assert {(extension, "accepted"), (extension, "NotAnImageError")} <= verdicts
