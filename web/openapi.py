"""What OpenAPI says of the API beyond the handlers' own types: statuses, headers, bytes, forms.

Swagger UI, the page at /docs that shows it, comes with `FastAPIOffline` (main.py).
"""

from typing import Any

from schemas import ImageMetadata, Problem

Responses = dict[int | str, dict[str, Any]]

_PROBLEM_SCHEMA = {"$ref": "#/components/schemas/Problem"}
_BINARY = {"schema": {"type": "string", "format": "binary"}}

_HEADERS = {
    "Accept-Ranges": "`bytes`.",
    "Cache-Control": "How long the answer may be reused without asking again.",
    "Content-Disposition": "Under which file name to save the image (RFC 6266).",
    "Content-Range": "Which bytes of how many (RFC 9110).",
    "ETag": "Names this version, for If-None-Match, If-Match and If-Range.",
    "Last-Modified": "When this version was stored.",
    "Link": 'The next page, as rel="next" (RFC 8288).',
    "Location": "The image's path, or where its bytes are.",
    "Repr-Digest": "SHA-256 of the whole image (RFC 9530).",
    "Retry-After": "Seconds to wait.",
    "WWW-Authenticate": "Which key is needed (RFC 6750).",
    "X-Content-Type-Options": "`nosniff`.",
    "X-Request-ID": "Names the request in the log; a proxy's own id is kept.",
    "Upload-Result": "`created`, `replaced`, or `unchanged`: the image had these very bytes.",
}

# What scripts of other origins may read, where CORS is on.
EXPOSED_HEADERS = frozenset(_HEADERS)

_CONDITIONS = {
    "If-Match": "Only if this is the current version.",
    "If-None-Match": "Only if this is not the current version; `*`: only if there is none.",
    "If-Modified-Since": "Only if it changed since; ignored beside If-None-Match.",
    "If-Unmodified-Since": "Only if it did not change since; ignored beside If-Match.",
}
_RANGES = {
    "Range": "One range of bytes, such as `bytes=0-499`; more than one are answered in whole.",
    "If-Range": "Send the range only of this version, otherwise the whole.",
}
_DIGESTS = {
    "Content-Digest": "SHA-256 of the body or of the file (RFC 9530); checked.",
    "Repr-Digest": "The same as Content-Digest.",
}


def _headers(*names: str) -> dict[str, Any]:
    every = (*names, "X-Request-ID")
    return {name: {"description": _HEADERS[name], "schema": {"type": "string"}} for name in every}


def _problem(description: str, *headers: str) -> dict[str, Any]:
    return {
        "description": description,
        "headers": _headers("Cache-Control", *headers),
        "content": {"application/problem+json": {"schema": _PROBLEM_SCHEMA}},
    }


def _parameters(fields: dict[str, str]) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "in": "header",
            "required": False,
            "description": text,
            "schema": {"type": "string"},
        }
        for name, text in fields.items()
    ]


_VALIDATORS = ("ETag", "Last-Modified", "Cache-Control")
_NOT_MODIFIED = {"description": "The client has this version.", "headers": _headers(*_VALIDATORS)}
_FAILED = _problem("A condition of the request is not met.")
# The last is for generators of clients, which know no image types.
_IMAGE = dict.fromkeys(
    ("image/jpeg", "image/png", "image/gif", "image/webp", "application/octet-stream"), _BINARY
)

COMMON: Responses = {
    422: _problem("A parameter does not fit."),
    500: _problem("A fault of the service."),
    503: _problem("Database or storage do not answer; try again later.", "Retry-After"),
}
_ACCESS = {
    "401": _problem("The API key is missing or not valid.", "WWW-Authenticate"),
    "403": _problem(
        "The API key does not allow this, a page of another web site sent it, or the deployment "
        "does not redirect."
    ),
}
LIVE: Responses = {200: {"headers": _headers()}}
READY: Responses = LIVE | {
    503: _problem("Database, bucket or sweeper does not work; the detail says which.")
}
RANDOM: Responses = {
    200: {"headers": _headers("Cache-Control")},
    404: _problem("There are no images."),
}
LIST: Responses = {
    200: {"headers": _headers("Link", "Cache-Control")},
    400: _problem("The cursor or the prefix is not valid."),
}
_NAMED: Responses = {
    400: _problem("The name breaks a rule."),
    404: _problem("There is no such image."),
    412: _FAILED,
}
DESCRIBE: Responses = _NAMED | {200: {"headers": _headers(*_VALIDATORS)}, 304: _NOT_MODIFIED}
DELETE: Responses = _NAMED | {
    200: {"headers": _headers()},
    409: _problem("Too many writers on this name at once; try again.", "Retry-After"),
}
_BYTES = (
    *_VALIDATORS,
    "Content-Disposition",
    "Repr-Digest",
    "Accept-Ranges",
    "X-Content-Type-Options",
)
DOWNLOAD: Responses = _NAMED | {
    200: {"description": "The image.", "headers": _headers(*_BYTES), "content": _IMAGE},
    206: {
        "description": "A part of the image.",
        "headers": _headers(*_BYTES, "Content-Range"),
        "content": _IMAGE,
    },
    304: _NOT_MODIFIED,
    307: {
        "description": "The bytes are at a presigned URL, for a short time.",
        "headers": _headers("Location", "Cache-Control"),
    },
    416: _problem("The range begins behind the end of the image.", "Content-Range"),
}
VARIANT: Responses = DOWNLOAD | {
    404: _problem("There is no such image, or the deployment does not offer this variant."),
}
UPLOAD: Responses = {
    200: {
        "description": "The image was overwritten, or had these very bytes.",
        "model": ImageMetadata,
        "headers": _headers("ETag", "Last-Modified", "Upload-Result"),
    },
    201: {
        "description": "The image is new.",
        "headers": _headers("Location", "ETag", "Last-Modified", "Upload-Result"),
    },
    400: _problem("Bad name, extension, digest or multipart form."),
    408: _problem("The body came too slowly."),
    409: _problem("Too many writers on this name at once; try again.", "Retry-After"),
    412: _FAILED,
    413: _problem("The image is too large."),
    415: _problem("The content is no whole image of a kind that the deployment accepts."),
}

CONDITIONAL: dict[str, Any] = {"parameters": _parameters(_CONDITIONS)}
CONDITIONAL_RANGE: dict[str, Any] = {"parameters": _parameters(_CONDITIONS | _RANGES)}
CONDITIONAL_WRITE: dict[str, Any] = {
    "parameters": _parameters(
        {name: _CONDITIONS[name] for name in ("If-Match", "If-None-Match", "If-Unmodified-Since")}
    )
}
UPLOAD_FORM: dict[str, Any] = {
    "parameters": CONDITIONAL_WRITE["parameters"] + _parameters(_DIGESTS),
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
                        },
                    },
                }
            }
        },
    },
}


def complete(openapi: dict[str, Any]) -> dict[str, Any]:
    """Add what the handlers do not say: the schema of problems, and the key that may be needed."""
    components = openapi.setdefault("components", {})
    components.setdefault("schemas", {})["Problem"] = Problem.model_json_schema()
    components["securitySchemes"] = {
        "API key": {
            "type": "http",
            "scheme": "bearer",
            "description": "Where the deployment has API keys: writing needs one, reading may.",
        }
    }
    for path, operations in openapi["paths"].items():
        if not path.startswith("/health"):
            for operation in operations.values():
                operation["security"] = [{"API key": []}, {}]
                operation["responses"] |= _ACCESS
    return openapi
