"""Which variant a URL and the Accept header ask for."""

from collections.abc import Iterator
from contextlib import contextmanager

from starlette.datastructures import Headers

from config import Settings, VariantSpec
from errors import ServiceError, VariantNotFoundError
from services.variant_formats import VariantChoice

_WEBP = "image/webp"


def choose_variant(variant: str, headers: Headers, settings: Settings) -> VariantChoice:
    """Return what `variant`, such as `320` or `320.webp`, stands for.

    Without an ending the client gets WebP where its Accept header names it (RFC 9110 section
    12.5.1; `*/*` names nothing), else the image's own kind. Raises VariantNotFoundError.
    """
    spec, _, encoding = variant.partition(".")
    encodings = settings.variant_formats
    offered = encoding in encodings if "." in variant else True
    if spec not in settings.variants or not offered:
        raise VariantNotFoundError
    if not encoding and "webp" in encodings and _names_webp(headers):
        encoding = "webp"
    return VariantChoice(VariantSpec.parse(spec), encoding, encodings)


@contextmanager
def vary_on_accept(variant: str) -> Iterator[dict[str, str]]:
    """Yield the headers to add to the answer, and add them to any ServiceError raised meanwhile.

    They are `Vary: Accept` (RFC 9110 section 12.5.5) if `variant` leaves the format to Accept.
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
