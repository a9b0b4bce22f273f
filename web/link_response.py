"""The response to a request for signed links."""

from dataclasses import replace

from starlette.responses import Response

from schemas import Links
from services.image_store import ImageRecord
from web.addresses import Addresses
from web.metadata_response import json_response
from web.signed_links import SignedLink


def links_response(
    link: SignedLink, secret: str, addresses: Addresses, image: ImageRecord | None
) -> Response:
    """Answer with the addresses of a link, those of the current version if there is an image."""
    signed = replace(addresses, link=link.query(secret))
    url, variants = signed.all_of(image) if image else signed.without_version(link.name)
    document = Links(
        url=None if link.allows == "variants" else url,
        variants=None if link.allows == "upload" else variants,
        expires_at=link.expires_at,
    )
    return json_response(document.model_dump_json().encode(), {"Cache-Control": "no-store"})
