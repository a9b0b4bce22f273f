"""Chooses the variant for a URL and an Accept header."""

from collections.abc import Iterator
from contextlib import contextmanager

from starlette.datastructures import Headers

from config import Settings, VariantSpec
from errors import ServiceError, VariantNotFoundError
from services.variant_formats import VariantChoice

_WEBP = "image/webp"


def choose_variant(variant: str, headers: Headers, settings: Settings) -> VariantChoice:
    """Parse `variant`, such as `320` or `320.webp`. Raises VariantNotFoundError.

    Without a file extension it is WebP if Accept names that (RFC 9110 section 12.5.1; `*/*` does
    not), otherwise it has the format of the image.
    """
    spec, _, encoding = variant.partition(".")
    encodings = settings.variant_formats
    offered = depends_on_accept(variant) or encoding in encodings
    if spec not in settings.variants or not offered:
        raise VariantNotFoundError
    if not encoding and "webp" in encodings and _names_webp(headers):
        encoding = "webp"
    return VariantChoice(VariantSpec.parse(spec), (encoding,) if encoding else encodings)


def depends_on_accept(variant: str) -> bool:
    """Return whether the Accept header selects the format: `variant` has no file extension."""
    return "." not in variant


@contextmanager
def vary_on_accept(variant: str) -> Iterator[dict[str, str]]:
    """Yield the headers to add to the response, and add them to any ServiceError in the block.

    They are `Vary: Accept` (RFC 9110 section 12.5.5) if the response depends on that header.
    """
    headers = {"Vary": "Accept"} if depends_on_accept(variant) else {}
    try:
        yield headers
    except ServiceError as exc:
        exc.headers |= headers
        raise


def _names_webp(headers: Headers) -> bool:
    for element in ",".join(headers.getlist("accept")).split(","):
        media_type, *parameters = (part.strip().lower() for part in element.split(";"))
        if media_type == _WEBP:
            weights = [value[2:] for value in parameters if value.startswith("q=")]
            return not weights or weights[0].strip("0.") != ""
    return False
