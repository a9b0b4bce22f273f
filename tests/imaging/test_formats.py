"""Every table of picture formats has every format, and every change of variants has a revision."""

import hashlib
import mmap

import pytest

from config import FORMATS, VARIANT_MEDIA_TYPES
from imaging.containers import formats as containers
from imaging.containers.content import MalformedImageError
from imaging.containers.outline import Outline
from imaging.decoding.pixels import decode
from imaging.rendering import picture
from imaging.rendering.encodings import ENCODINGS, REVISION
from imaging.stills import formats as stills


def test_same_formats() -> None:
    """Each format is recognised, walked, reduced, opened and has variants of its own."""
    expected = {accepted.name for accepted in FORMATS.values()}
    for table in (containers._WALKS, containers._SIGNATURES, stills._STILLS, picture._OPENERS):
        assert set(table) == expected
    variants = {accepted.variant for accepted in FORMATS.values()}
    assert variants < set(ENCODINGS) == set(VARIANT_MEDIA_TYPES)


def test_format_without_a_decoder() -> None:
    """A file whose format has no decoder is refused instead of passing undecoded."""
    with pytest.raises(MalformedImageError, match="no decoder"):
        decode(mmap.mmap(-1, 1), Outline(width=1, height=1, orientation=1))


def test_revision() -> None:
    """A change of the encoders requires a new REVISION; then update the digest here."""
    digest = hashlib.sha256(repr((REVISION, ENCODINGS)).encode()).hexdigest()
    assert digest.startswith("322584b7")
