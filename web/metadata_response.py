"""Metadata responses: one image, or a page of images, as the models of schemas.py."""

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from operator import attrgetter
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from config import ApiKey, Settings
from schemas import ImageMetadata
from services.image_store import ImageRecord
from web.access import is_public
from web.addresses import Addresses
from web.cache_control import read_cache_control
from web.caller import Caller
from web.conditional_requests import Validators, is_not_modified

_RENDERED = ("url", "variants", "created_by")
_FIELDS = tuple(field for field in ImageMetadata.model_fields if field not in _RENDERED)
_values_of = attrgetter(*_FIELDS)


def metadata_response(
    request: Request,
    image: ImageRecord,
    settings: Settings,
    settled_at: datetime,
    who: Caller,
) -> Response:
    """Answer with metadata, or 304 if the client has it. Raises PreconditionFailedError.

    The settings, which are part of the document, have not changed since `settled_at`. A date alone
    does not say with which settings a client has seen an image that is older, or with which key.
    """
    document = image_json(image, Addresses.of(request, settings), who.key)
    tag = hashlib.sha256(document).hexdigest()
    validators = Validators(f'"{tag}"', image.last_updated_at)
    told = _tells_creator(who.key, image)
    private = told or not is_public(settings, by_name=True)
    left = who.link.seconds_remaining(datetime.now(UTC)) if who.link else None
    headers = validators.headers() | read_cache_control(settings, private=private, seconds=left)
    dated = image.last_updated_at > settled_at and not told
    if is_not_modified(request.headers, validators, dated=dated):
        return Response(status_code=304, headers=headers)
    return json_response(document, headers)


def json_response(document: bytes, headers: dict[str, str], status: int = 200) -> Response:
    """Answer with a rendered JSON document."""
    return Response(document, status, headers, "application/json")


def image_json(image: ImageRecord, addresses: Addresses, key: ApiKey | None = None) -> bytes:
    """Render an image as `ImageMetadata` for the holder of `key`."""
    document = ImageMetadata(**_document(image, addresses, key))
    return document.model_dump_json(exclude_unset=True).encode()


def list_json(
    images: Sequence[ImageRecord],
    addresses: Addresses,
    next_cursor: str | None,
    key: ApiKey | None = None,
) -> bytes:
    """Render a page as `ImageList` for the holder of `key`.

    orjson renders what the models would: with them, 100 images take 0.4 ms more, and with Pydantic
    but without models 0.08 ms more.
    """
    documents = [_document(image, addresses, key) for image in images]
    page = {"images": documents, "next_cursor": next_cursor}
    return orjson.dumps(page, option=orjson.OPT_UTC_Z)


def _document(image: ImageRecord, addresses: Addresses, key: ApiKey | None) -> dict[str, Any]:
    """Return the fields of `ImageMetadata`."""
    document = dict(zip(_FIELDS, _values_of(image), strict=True))
    document["url"], document["variants"] = addresses.all_of(image)
    if _tells_creator(key, image):
        document["created_by"] = image.created_by
    return document


def _tells_creator(key: ApiKey | None, image: ImageRecord) -> bool:
    """Whether metadata names the key of the first upload: only to keys that cover the image."""
    return key is not None and key.covers(image.name)
