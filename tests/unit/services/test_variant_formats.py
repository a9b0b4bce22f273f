"""A choice of a variant becomes the spec under which it is stored."""

import pytest

from config import FORMATS, VariantSpec
from imaging.rendering.encodings import REVISION
from services.variant_formats import VariantChoice
from tests.support.records import IMAGE


def choice(encoding: str, *encodings: str) -> VariantChoice:
    """Return the choice of a variant of 320 pixels."""
    return VariantChoice(VariantSpec(320, 320), encoding, encodings)


def test_asked() -> None:
    """The encoding that was asked for is the only one that may be the answer."""
    asked = choice("webp", "jpg", "webp")
    assert asked.specs() == [f"r{REVISION}/320.webp"]
    assert asked.spec_for(IMAGE) == f"r{REVISION}/320.webp"


@pytest.mark.parametrize("extension", FORMATS)
def test_own(extension: str) -> None:
    """Without one, it is the image's own kind, which is among those that may be the answer."""
    own = choice("", "webp", "png", "jpg")
    image = IMAGE._replace(extension=extension)
    assert own.encoding(extension) == FORMATS[extension].variant
    assert own.spec_for(image) in own.specs()


def test_not_offered() -> None:
    """An image whose own kind is not offered has variants of the first kind that is."""
    assert choice("", "webp", "jpg").encoding("gif") == "webp"
