"""Listing what remains of a file, and rewriting it in place."""

import io
import random

import pytest

from imaging.containers.content import MalformedImageError
from imaging.stripping.rewriting import Remains

_CONTENT = random.Random(1).randbytes(1_000_000)


def test_overlapping_pieces() -> None:
    """Pieces that would overwrite what follows are refused before the file changes."""
    found = Remains(bytes(100))
    found.replace(10, b"longer than what it replaces")
    with pytest.raises(MalformedImageError, match="overlap"):
        found.keep(20, 30)


def test_rewrite() -> None:
    """Long and short stretches move to the beginning, with replacements between them."""
    found = Remains(_CONTENT)
    found.keep(0, 10)
    found.keep(20, 700_000)
    found.replace(700_010, b"x" * 290_000)
    found.keep(999_000, 1_000_000)
    file = io.BytesIO(_CONTENT)
    found.rewrite(file)
    expected = _CONTENT[:10] + _CONTENT[20:700_000] + b"x" * 290_000 + _CONTENT[999_000:]
    assert file.getvalue() == expected
    assert found.size == len(expected)


def test_nothing_to_do() -> None:
    """A file that remains as it is, and one that loses only its end, are recognised."""
    found = Remains(_CONTENT)
    found.keep(0, 500_000)
    found.replace(500_000, _CONTENT[500_000:600_000])
    assert not found.is_everything
    found.keep(600_000, 1_000_000)
    assert found.is_everything
