"""Every table of picture formats has every format."""

import io
import mmap

import pytest

from config import FORMATS, VARIANT_MEDIA_TYPES
from config.formats import ALIASES
from imaging.containers import formats as containers
from imaging.containers.limits import PixelLimits
from imaging.decoding.pixels import decode
from imaging.rendering import decoded
from imaging.rendering.encodings import ENCODINGS
from imaging.stills import formats as stills
from imaging.stripping.formats import strip
from tests.support import pictures


def test_same_formats() -> None:
    """Each format is recognised, walked, reduced, decoded and has variants of its own."""
    expected = {accepted.name for accepted in FORMATS.values()}
    for table in (containers._WALKS, containers._SIGNATURES, stills._STILLS, decoded._DECODERS):
        assert set(table) == expected
    variants = {accepted.variant for accepted in FORMATS.values()}
    assert variants < set(ENCODINGS) == set(VARIANT_MEDIA_TYPES)


@pytest.mark.parametrize("name", sorted({accepted.name for accepted in FORMATS.values()}))
def test_decoded_and_stripped(name: str) -> None:
    """A file of each format, made by `tests/support/pictures.py`, can be decoded and stripped."""
    content = getattr(pictures, name)()
    outline = containers.walk(content, name, PixelLimits(frame=10_000, animation=100_000))
    with mmap.mmap(-1, len(content)) as mapped:
        mapped.write(content)
        decode(mapped, outline)
    strip(content, outline, io.BytesIO(content))


def test_aliases() -> None:
    """An alias is another extension of an accepted format, and no setting can list it."""
    assert set(ALIASES.values()) <= set(FORMATS)
    assert not set(ALIASES) & set(FORMATS)


def test_media_types() -> None:
    """Uploads and variants of one extension have the same media type."""
    shared = set(FORMATS) & set(VARIANT_MEDIA_TYPES)
    assert shared == {"jpg", "png", "webp"}
    for extension in shared:
        assert FORMATS[extension].media_type == VARIANT_MEDIA_TYPES[extension]
