"""Which formats can be stripped."""

import io

import pytest

from imaging.containers.content import MalformedImageError
from imaging.containers.outline import Outline
from imaging.stripping.formats import strip


def test_format_without_rules() -> None:
    """A format without rules is refused, not stored with its metadata."""
    with pytest.raises(MalformedImageError, match="cannot be removed"):
        strip(b"x", Outline(width=1, height=1), io.BytesIO(b"x"))
