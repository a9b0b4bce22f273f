"""Tags cover what decides on the bytes, and those of variants are no tags of images."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imaging.rendering.encodings import REVISION
from services import tags
from services.tags import image_tag, variant_tag

SHA256 = st.binary().map(lambda content: hashlib.sha256(content).hexdigest())
FORMATS = ("jpg", "png")


@given(SHA256, SHA256)
def test_never_the_same(one: str, other: str) -> None:
    """The tag of a variant is never that of an image; each names one original."""
    assert image_tag(one) == one[:16]
    assert variant_tag(one, FORMATS) != image_tag(other)
    for tag in (image_tag, lambda sha256: variant_tag(sha256, FORMATS)):
        assert (tag(one) == tag(other)) == (one == other)


def test_renderer(monkeypatch: pytest.MonkeyPatch) -> None:
    """The revision of the renderer, and the formats in their order, change a variant's tag."""
    zeros = 64 * "0"
    seen = {variant_tag(zeros, formats) for formats in (FORMATS, FORMATS[::-1], FORMATS[:1])}
    monkeypatch.setattr(tags, "REVISION", REVISION + 1)
    seen |= {variant_tag(zeros, FORMATS), variant_tag(zeros, FORMATS)}
    assert len(seen) == 4
