"""Reading beyond the end of a file is an error of the file."""

import pytest

from imaging.containers.content import MalformedImageError, number, take


def test_take() -> None:
    """All requested bytes are returned, or none."""
    assert take(b"abcd", 1, 3) == b"bcd"
    with pytest.raises(MalformedImageError, match="cut short"):
        take(b"abcd", 2, 3)


def test_number() -> None:
    """A number is unsigned, in either byte order."""
    assert number(b"\0\xff\xfe", 1, 2, "big") == 0xFFFE
    assert number(b"\0\xff\xfe", 1, 2, "little") == 0xFEFF
