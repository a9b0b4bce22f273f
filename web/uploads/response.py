"""Responses to uploads: 201 or 200, the metadata of the image, and Upload-Result.

`ImageStore.upload` decides whether the result is `created`, `replaced` or `unchanged`.
"""

from starlette.responses import Response

from services.image_store import ImageRecord
from web.addresses import Addresses
from web.metadata_response import image_json, json_response
from web.validators import image_validators


def upload_response(image: ImageRecord, outcome: str, addresses: Addresses) -> Response:
    """Answer an upload with the metadata of the image; 201 if it is new."""
    headers = image_validators(image).headers() | {"Upload-Result": outcome}
    if created := outcome == "created":
        headers["Location"] = str(addresses.image(image))
    return json_response(image_json(image, addresses), headers, 201 if created else 200)
