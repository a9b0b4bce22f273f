"""A choice of a variant determines the spec under which the variant is stored."""

import pytest

from config import FORMATS, VariantSpec
from imaging.rendering.encodings import REVISION
from services.variant_formats import VariantChoice
from tests.support.records import IMAGE


def choice(*encodings: str) -> VariantChoice:
    """Return the choice of a variant of 320 pixels."""
    return VariantChoice(VariantSpec(320, 320), encodings)


def test_spec() -> None:
    """A spec has the revision of the renderer, the size and the encoding."""
    webp = choice("webp")
    assert webp.specs() == [f"r{REVISION}/320.webp"]
    assert webp.spec_for(IMAGE) == f"r{REVISION}/320.webp"


@pytest.mark.parametrize("extension", FORMATS)
def test_own(extension: str) -> None:
    """The image's own encoding is preferred if it is offered."""
    own = choice("webp", "png", "jpg")
    image = IMAGE._replace(extension=extension)
    assert own.encoding(extension) == FORMATS[extension].variant
    assert own.spec_for(image) in own.specs()


def test_not_offered() -> None:
    """Without the image's own encoding, the first one is used."""
    assert choice("webp", "jpg").encoding("gif") == "webp"
