"""How metadata is answered: one image, or a page of them, as JSON with validators."""

import hashlib
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from pydantic_core import to_json
from starlette.datastructures import Headers
from starlette.responses import Response

from services.image_store import ImageRecord
from web.conditional_requests import Validators, is_not_modified

# Quotes in strings are escaped in JSON: a member like this is only where we put it.
_VARIANTS_HERE = b'"variants":0'


class VariantLinks:
    """Where the variants of images are: below `root_path`, the prefix of a proxy in front."""

    def __init__(self, root_path: str, variants: tuple[str, ...]) -> None:
        path = f"{root_path}/images/\0/variants/"
        links = to_json({"variants": {variant: path + variant for variant in variants}})
        self._around_names = links[1:-1].split(to_json("\0")[1:-1])

    def put_into(self, document: bytes, images: Sequence[ImageRecord]) -> bytes:
        """Put the paths of each image's variants where the document leaves a place for them."""
        names = quote("/".join([image.name for image in images])).encode().split(b"/")
        start, *others = document.split(_VARIANTS_HERE)
        pairs = zip(names, others, strict=True) if others else ()
        return start + b"".join([name.join(self._around_names) + other for name, other in pairs])


def metadata_response(
    asked: Headers, image: ImageRecord, links: VariantLinks, cache: dict[str, str]
) -> Response:
    """Answer with an image's metadata, or with 304 where the client has it; both with `cache`.

    Raises PreconditionFailedError.
    """
    document = image_json(image, links)
    tag = hashlib.sha256(document).hexdigest()
    validators = Validators(f'"{tag}"', image.last_updated_at)
    headers = validators.headers() | cache
    if is_not_modified(asked, validators):
        return Response(status_code=304, headers=headers)
    return json_response(document, headers)


def json_response(document: bytes, headers: dict[str, str], status: int = 200) -> Response:
    """Answer with a rendered JSON document."""
    return Response(document, status, headers, "application/json")


def image_json(image: ImageRecord, links: VariantLinks) -> bytes:
    """Render an image as `ImageMetadata`."""
    return links.put_into(to_json(_document(image)), [image])


def list_json(images: Sequence[ImageRecord], links: VariantLinks, next_cursor: str | None) -> bytes:
    """Render a page as `ImageList`."""
    documents = [_document(image) for image in images]
    return links.put_into(to_json({"images": documents, "next_cursor": next_cursor}), images)


def _document(image: ImageRecord) -> dict[str, Any]:
    """Return `ImageMetadata` without its variants.

    Rows were validated when they were written: without the models, and spelt out, a page of 100
    takes 0.03 ms instead of 0.3 ms.
    """
    return {
        "name": image.name,
        "size_bytes": image.size_bytes,
        "extension": image.extension,
        "last_updated_at": image.last_updated_at,
        "content_type": image.content_type,
        "sha256": image.sha256,
        "width": image.width,
        "height": image.height,
        "created_at": image.created_at,
        "variants": 0,
    }
