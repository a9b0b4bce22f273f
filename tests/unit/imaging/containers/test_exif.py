"""The Exif orientation is read in both byte orders, and is 1 if it cannot be read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imaging.containers.exif import read_orientation
from tests.support.containers import exif


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("stored", "read"), [(1, 1), (6, 6), (8, 8), (0, 1), (9, 1), (65535, 1)])
def test_orientation(stored: int, read: int, order: str) -> None:
    """Orientations are 1 to 8; any other value counts as upright."""
    assert read_orientation(exif(stored, order)) == read


@given(st.sampled_from([b"", b"II*\0", b"MM\0*"]), st.binary(max_size=60))
def test_any_bytes(mark: bytes, content: bytes) -> None:
    """Any bytes have an orientation."""
    assert read_orientation(mark + content) in range(1, 9)


@pytest.mark.parametrize("order", ["<", ">"])
def test_cut(order: str) -> None:
    """A truncated orientation counts as upright; one at the end of the file is read."""
    entry_ends = 22
    about = exif(6, order)
    assert {read_orientation(about[:length]) for length in range(entry_ends)} == {1}
    assert read_orientation(about[:entry_ends]) == 6
