"""A URL names a variant and its format; without a format, Accept chooses."""

from contextlib import suppress

import pytest
from starlette.datastructures import Headers

from config import VariantSpec
from errors import PreconditionFailedError, VariantNotFoundError
from tests.support.records import SETTINGS
from web.variant_choice import choose_variant, vary_on_accept

OFFERED = SETTINGS.model_copy(
    update={"variants": ("320", "64x64-crop"), "variant_formats": ("jpg", "webp")}
)
NOTHING = Headers({})


@pytest.mark.parametrize(
    ("variant", "spec", "encodings"),
    [
        ("320", VariantSpec(320, 320), ("jpg", "webp")),
        ("320.jpg", VariantSpec(320, 320), ("jpg",)),
        ("64x64-crop.webp", VariantSpec(64, 64, crop=True), ("webp",)),
    ],
)
def test_offered(variant: str, spec: VariantSpec, encodings: tuple[str, ...]) -> None:
    """A variant in the settings is found, with the format of its file extension."""
    choice = choose_variant(variant, NOTHING, OFFERED)
    assert (choice.spec, choice.encodings) == (spec, encodings)


@pytest.mark.parametrize(
    "variant", ["", "321", "320x320", "320.png", "320.", ".jpg", "320.jpg.jpg"]
)
def test_not_offered(variant: str) -> None:
    """No other spelling, size or format is a variant."""
    with pytest.raises(VariantNotFoundError):
        choose_variant(variant, NOTHING, OFFERED)


@pytest.mark.parametrize(
    ("accept", "encodings"),
    [
        ("image/webp", ("webp",)),
        ("text/html, IMAGE/WebP ; q=0.8", ("webp",)),
        ("image/webp;q=0.001", ("webp",)),
        ("image/webp;q=0", ("jpg", "webp")),
        ("image/webp; q=0.000", ("jpg", "webp")),
        ("image/*, */*", ("jpg", "webp")),
        ("image/webpx", ("jpg", "webp")),
    ],
)
def test_accept(accept: str, encodings: tuple[str, ...]) -> None:
    """WebP is chosen if Accept names it with a weight above zero (RFC 9110 section 12.5.1)."""
    headers = Headers({"accept": accept})
    assert choose_variant("320", headers, OFFERED).encodings == encodings
    assert choose_variant("320.jpg", headers, OFFERED).encodings == ("jpg",)
    without = OFFERED.model_copy(update={"variant_formats": ("jpg",)})
    assert choose_variant("320", headers, without).encodings == ("jpg",)


@pytest.mark.parametrize(("variant", "varies"), [("320", True), ("320.webp", False)])
def test_vary(variant: str, *, varies: bool) -> None:
    """Answers and errors vary by Accept, unless the URL names the format."""
    expected = {"Vary": "Accept"} if varies else {}
    error = PreconditionFailedError()
    with suppress(PreconditionFailedError), vary_on_accept(variant) as headers:
        raise error
    assert headers == error.headers == expected
