"""Making signed links, and the answer that gives them."""

from dataclasses import replace
from datetime import UTC, datetime

from starlette.responses import Response

from schemas import LinkRequest, Links
from services.image_store import ImageRecord
from web.addresses import Addresses
from web.metadata_response import json_response
from web.signed_links import SignedLink, expiry


def make_link(name: str, wanted: LinkRequest) -> SignedLink:
    """Return the link to the image `name`, as it is stored, that a client asks for now."""
    expires = expiry(datetime.now(UTC), wanted.expires_in)
    return SignedLink(wanted.allows, name, expires, wanted.replace, wanted.max_bytes)


def links_response(
    link: SignedLink, secret: str, addresses: Addresses, image: ImageRecord | None
) -> Response:
    """Answer with the addresses that a link opens, of the current version of `image` if any."""
    signed = replace(addresses, link=link.query(secret))
    url, variants = signed.all_of(image) if image else signed.without_version(link.name)
    document = Links(
        url=None if link.allows == "variants" else url,
        variants=None if link.allows == "upload" else variants,
        expires_at=link.expires_at,
    )
    return json_response(document.model_dump_json().encode(), {"Cache-Control": "no-store"})
