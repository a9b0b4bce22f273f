"""Tags depend on everything that determines the bytes, and differ between images and variants."""

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
    """The tag of a variant never equals that of an image, and each original has its own."""
    assert image_tag(one) == one[:16]
    assert variant_tag(one, FORMATS) != image_tag(other)
    for tag in (image_tag, lambda sha256: variant_tag(sha256, FORMATS)):
        assert (tag(one) == tag(other)) == (one == other)


def test_renderer(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tag of a variant depends on the renderer's revision and on the order of the formats."""
    zeros = 64 * "0"
    seen = {variant_tag(zeros, formats) for formats in (FORMATS, FORMATS[::-1], FORMATS[:1])}
    monkeypatch.setattr(tags, "REVISION", REVISION + 1)
    seen |= {variant_tag(zeros, FORMATS), variant_tag(zeros, FORMATS)}
    assert len(seen) == 4
