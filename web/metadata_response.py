"""Metadata of one image, or of a page of images, as the models of schemas.py define it."""

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from operator import attrgetter
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from config import Settings
from schemas import ImageMetadata
from services.image_store import ImageRecord
from web.access import is_public
from web.addresses import Addresses
from web.cache_control import read_cache_control, vary_by_key
from web.caller import caller
from web.conditional_requests import is_not_modified
from web.validators import Validators

_RENDERED = ("url", "variants", "created_by")
_FIELDS = tuple(field for field in ImageMetadata.model_fields if field not in _RENDERED)
_values_of = attrgetter(*_FIELDS)


def metadata_response(
    request: Request, image: ImageRecord, settings: Settings, settled_at: datetime
) -> Response:
    """Answer with metadata, or 304 if the client has it. Raises PreconditionFailedError.

    The document also depends on the settings, which have not changed since `settled_at`, and on the
    key. So If-Modified-Since counts only if the image is newer and the key changes nothing.
    """
    document = image_json(image, Addresses.of(request, settings))
    tag = hashlib.sha256(document).hexdigest()
    validators = Validators(f'"{tag}"', image.last_updated_at)
    with_creator, link = _shows_creator(image), caller.get().link
    private = with_creator or not is_public(settings, by_name=True)
    remaining = link.seconds_remaining(datetime.now(UTC)) if link else None
    cache = read_cache_control(settings, private=private, seconds=remaining)
    headers = validators.headers() | cache | vary_by_key(settings)
    dated = image.last_updated_at > settled_at and not with_creator
    if is_not_modified(request.headers, validators, dated=dated):
        return Response(status_code=304, headers=headers)
    return json_response(document, headers)


def json_response(document: bytes, headers: dict[str, str], status: int = 200) -> Response:
    """Answer with a rendered JSON document."""
    return Response(document, status, headers, "application/json")


def image_json(image: ImageRecord, addresses: Addresses) -> bytes:
    """Render an image as `ImageMetadata` for the caller."""
    document = ImageMetadata(**_document(image, addresses))
    return document.model_dump_json(exclude_unset=True).encode()


def list_json(
    images: Sequence[ImageRecord], addresses: Addresses, next_cursor: str | None
) -> bytes:
    """Render a page as `ImageList` for the caller.

    orjson renders what the models would: with them, 100 images take 0.4 ms more, and with Pydantic
    but without models 0.08 ms more.
    """
    documents = [_document(image, addresses) for image in images]
    page = {"images": documents, "next_cursor": next_cursor}
    return orjson.dumps(page, option=orjson.OPT_UTC_Z)


def _document(image: ImageRecord, addresses: Addresses) -> dict[str, Any]:
    """Return the fields of `ImageMetadata`."""
    document = dict(zip(_FIELDS, _values_of(image), strict=True))
    document["url"], document["variants"] = addresses.all_of(image)
    if _shows_creator(image):
        document["created_by"] = image.created_by
    return document


def _shows_creator(image: ImageRecord) -> bool:
    """Return whether the caller may see which key created an image: its own key must cover it."""
    key = caller.get().key
    return key is not None and key.covers(image.name)
