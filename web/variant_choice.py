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
    offered = encoding in encodings if "." in variant else True
    if spec not in settings.variants or not offered:
        raise VariantNotFoundError
    if not encoding and "webp" in encodings and _names_webp(headers):
        encoding = "webp"
    return VariantChoice(VariantSpec.parse(spec), (encoding,) if encoding else encodings)


@contextmanager
def vary_on_accept(variant: str) -> Iterator[dict[str, str]]:
    """Yield the headers to add to the response, and add them to any ServiceError in the block.

    They are `Vary: Accept` (RFC 9110 section 12.5.5) if `variant` has no file extension.
    """
    headers = {} if "." in variant else {"Vary": "Accept"}
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
