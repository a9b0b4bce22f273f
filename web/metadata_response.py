"""Metadata responses: one image, or a page of images, as the models of schemas.py."""

import hashlib
from collections.abc import Sequence
from datetime import datetime
from operator import attrgetter
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from config import Settings
from schemas import ImageList, ImageMetadata
from services.image_store import ImageRecord
from web.access import is_public
from web.addresses import Addresses
from web.cache_control import read_cache_control
from web.conditional_requests import Validators, is_not_modified

_ADDRESSES = ("url", "variants")
_FIELDS = tuple(field for field in ImageMetadata.model_fields if field not in _ADDRESSES)
_values_of = attrgetter(*_FIELDS)


def metadata_response(
    request: Request, image: ImageRecord, settings: Settings, settled_at: datetime
) -> Response:
    """Answer with metadata, or 304 if the client has it. Raises PreconditionFailedError.

    The settings, which are part of the document, have not changed since `settled_at`. A date alone
    does not say with which settings a client has seen an image that is older.
    """
    document = image_json(image, Addresses.of(request, settings))
    tag = hashlib.sha256(document).hexdigest()
    validators = Validators(f'"{tag}"', image.last_updated_at)
    private = not is_public(settings, by_name=True)
    headers = validators.headers() | read_cache_control(settings, private=private)
    dated = image.last_updated_at > settled_at
    if is_not_modified(request.headers, validators, dated=dated):
        return Response(status_code=304, headers=headers)
    return json_response(document, headers)


def json_response(document: bytes, headers: dict[str, str], status: int = 200) -> Response:
    """Answer with a rendered JSON document."""
    return Response(document, status, headers, "application/json")


def image_json(image: ImageRecord, addresses: Addresses) -> bytes:
    """Render an image as `ImageMetadata`."""
    return ImageMetadata(**_document(image, addresses)).model_dump_json().encode()


def list_json(
    images: Sequence[ImageRecord], addresses: Addresses, next_cursor: str | None
) -> bytes:
    """Render a page as `ImageList`.

    The images stay dictionaries: as models, 100 of them would take 0.4 ms more.
    """
    documents: Any = [_document(image, addresses) for image in images]
    page = ImageList.model_construct(images=documents, next_cursor=next_cursor)
    return page.model_dump_json(serialize_as_any=True).encode()


def _document(image: ImageRecord, addresses: Addresses) -> dict[str, Any]:
    """Return the fields of `ImageMetadata`."""
    document = dict(zip(_FIELDS, _values_of(image), strict=True))
    document["url"], document["variants"] = addresses.all_of(image)
    return document
