"""How metadata is answered: one image, or a page of them, as JSON with validators."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any
from urllib.parse import quote

from pydantic_core import to_json
from starlette.datastructures import Headers
from starlette.responses import Response

from schemas import ImageMetadata
from services.image_store import ImageRecord
from web.conditional_requests import Validators, is_not_modified

# Rows were validated when they were written: rendered straight from their fields, a page of 100
# takes 0.13 ms instead of 0.58 ms through the models.
_FIELDS = tuple(name for name in ImageMetadata.model_fields if name != "variants")
_values = attrgetter(*_FIELDS)


@dataclass(frozen=True, slots=True)
class VariantLinks:
    """Where the variants of images are: below `root_path`, the prefix of a proxy in front."""

    root_path: str
    variants: tuple[str, ...]

    def of(self, name: str) -> dict[str, str]:
        """Return the path of each variant of an image."""
        if not self.variants:
            return {}
        path = f"{self.root_path}/images/{quote(name, safe='')}/variants/"
        return {variant: path + variant for variant in self.variants}


def metadata_response(
    asked: Headers, image: ImageRecord, links: VariantLinks, cache_control: str
) -> Response:
    """Answer with an image's metadata, or with 304 where the client has it.

    Raises PreconditionFailedError.
    """
    document = image_json(image, links)
    tag = hashlib.sha256(document).hexdigest()
    validators = Validators(f'"{tag}"', image.last_updated_at)
    headers = validators.headers() | {"Cache-Control": cache_control}
    if is_not_modified(asked, validators):
        return Response(status_code=304, headers=headers)
    return json_response(document, headers)


def json_response(document: bytes, headers: dict[str, str], status: int = 200) -> Response:
    """Answer with a rendered JSON document."""
    return Response(document, status, headers, "application/json")


def image_json(image: ImageRecord, links: VariantLinks) -> bytes:
    """Render an image as `ImageMetadata`."""
    return to_json(_document(image, links))


def list_json(images: Sequence[ImageRecord], links: VariantLinks, next_cursor: str | None) -> bytes:
    """Render a page as `ImageList`."""
    documents = [_document(image, links) for image in images]
    return to_json({"images": documents, "next_cursor": next_cursor})


def _document(image: ImageRecord, links: VariantLinks) -> dict[str, Any]:
    document = dict(zip(_FIELDS, _values(image), strict=True))
    return document | {"variants": links.of(image.name)}
