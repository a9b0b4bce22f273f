"""Every pixel of a file is decoded."""

import mmap

import pytest

from imaging.containers.content import MalformedImageError
from imaging.containers.outline import Outline
from imaging.decoding.pixels import decode


def test_format_without_a_decoder() -> None:
    """A file whose format has no decoder is refused instead of passing undecoded."""
    with pytest.raises(MalformedImageError, match="no decoder"):
        decode(mmap.mmap(-1, 1), Outline(width=1, height=1, orientation=1))
