"""What OpenAPI says of the images API beyond the handlers' own types."""

from typing import Any

from schemas import ImageMetadata, Problem

Responses = dict[int | str, dict[str, Any]]

IMAGE_TYPES = ("image/jpeg", "image/png", "image/gif", "image/webp")


def _problem(description: str) -> dict[str, Any]:
    return {
        "description": description,
        "content": {
            "application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}
        },
    }


_BAD_NAME = _problem("The name breaks a rule.")
UNAVAILABLE: Responses = {503: _problem("Database or storage do not answer; try again later.")}
NOT_FOUND: Responses = {400: _BAD_NAME, 404: _problem("There is no such image.")}
UPLOAD: Responses = {
    200: {"description": "The image was overwritten.", "model": ImageMetadata},
    201: {
        "description": "The image is new.",
        "headers": {"Location": {"description": "Its path.", "schema": {"type": "string"}}},
    },
    400: _problem("Bad name, extension or multipart form."),
    408: _problem("The body came too slowly."),
    409: _problem("Too many writers on this name at once; try again."),
    413: _problem("The image is too large."),
    415: _problem("The content is no whole image of the kind that the extension says."),
}
DOWNLOAD: Responses = NOT_FOUND | {
    200: {
        "description": "The bytes of the image.",
        "content": {
            media_type: {"schema": {"type": "string", "format": "binary"}}
            for media_type in IMAGE_TYPES
        },
    },
    422: _problem("A parameter does not fit."),
}
UPLOAD_FORM: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {
                        "file": {
                            "type": "string",
                            "format": "binary",
                            "description": "The image; its file name's extension says its kind.",
                        },
                        "name": {
                            "type": "string",
                            "minLength": 1,
                            "maxLength": 255,
                            "description": "Default: the file name without its extension.",
                            "example": "sunset",
                        },
                    },
                }
            }
        },
    }
}
PROBLEM_MODEL = Problem
