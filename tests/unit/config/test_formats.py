"""Every table of picture formats has every format."""

from config import FORMATS, VARIANT_MEDIA_TYPES
from config.formats import ALIASES
from imaging.containers import formats as containers
from imaging.rendering import decoded
from imaging.rendering.encodings import ENCODINGS
from imaging.stills import formats as stills


def test_same_formats() -> None:
    """Each format is recognised, walked, reduced, decoded and has variants of its own."""
    expected = {accepted.name for accepted in FORMATS.values()}
    for table in (containers._WALKS, containers._SIGNATURES, stills._STILLS, decoded._DECODERS):
        assert set(table) == expected
    variants = {accepted.variant for accepted in FORMATS.values()}
    assert variants < set(ENCODINGS) == set(VARIANT_MEDIA_TYPES)


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
