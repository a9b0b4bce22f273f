"""The parts of the OpenAPI document that FastAPI cannot derive from the handlers.

These are the statuses, headers and form fields of every route. docs/api.md is generated from them.
"""

from typing import Any

from config import FORMATS
from schemas import ImageMetadata, LinkRequest, Problem

Responses = dict[int | str, dict[str, Any]]

_PROBLEM = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
_STRING = {"type": "string"}
_BINARY = {"type": "string", "format": "binary"}

HEADERS = {
    "Accept-Encoding": "`identity`: the body must not be compressed (RFC 9110).",
    "Accept-Ranges": "`bytes`.",
    "Cache-Control": "How caches may reuse the response (RFC 9111).",
    "Content-Disposition": "The file name of the download (RFC 6266).",
    "Content-Range": "The range that the response contains (RFC 9110).",
    "ETag": "The version, for If-None-Match, If-Match and If-Range.",
    "Last-Modified": "The time at which this version was stored.",
    "Link": 'The next page, as rel="next" (RFC 8288).',
    "Location": "The address of the image, or the URL of its bytes.",
    "Referrer-Policy": "`no-referrer` in responses to signed links.",
    "Repr-Digest": "SHA-256 of the whole image (RFC 9530).",
    "Retry-After": "Seconds to wait.",
    "Vary": "`Accept` and `Authorization`, if the response depends on them (RFC 9110).",
    "WWW-Authenticate": "The required authentication (RFC 6750).",
    "X-Content-Type-Options": "`nosniff`.",
    "X-Request-ID": "The id of the request in the log; an id from a proxy is kept.",
    "Upload-Result": "`created`, `replaced`, or `unchanged` if the image already had these bytes.",
}

# Headers that CORS lets scripts of other origins read
EXPOSED_HEADERS = frozenset(HEADERS) | {"Date"}

_CONDITIONS = {
    "If-Match": "Only if this is the current version.",
    "If-None-Match": "Only if this is not the current version; `*`: only if there is none.",
    "If-Modified-Since": "Only if this is not the Last-Modified of the current version; "
    "ignored with If-None-Match.",
    "If-Unmodified-Since": "Only if the image has not changed since; ignored with If-Match.",
}
_RANGES = {
    "Range": "One range of bytes, such as `bytes=0-499`; several ranges return the whole image.",
    "If-Range": "Return the range only of this version, otherwise the whole image.",
}
_DIGESTS = {
    "Content-Digest": "SHA-256 of the body or of the file (RFC 9530), which is verified.",
    "Repr-Digest": "The same as Content-Digest.",
}
REQUEST_HEADERS = _CONDITIONS | _RANGES | _DIGESTS


def _headers(*names: str) -> dict[str, Any]:
    every = (*names, "X-Request-ID")
    return {name: {"description": HEADERS[name], "schema": _STRING} for name in every}


def _response(description: str, *headers: str, **extra: Any) -> dict[str, Any]:
    return {"description": description, "headers": _headers(*headers), **extra}


def _problem(description: str, *headers: str) -> dict[str, Any]:
    return _response(description, "Cache-Control", *headers, content=_PROBLEM)


_VERSION = {
    "name": "v",
    "in": "query",
    "description": "The tag of a version, from the addresses in the metadata. Caches may keep the "
    "current version for a year; any other tag redirects to it (302).",
    "schema": _STRING,
}


def _parameters(fields: dict[str, str]) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "header", "description": description, "schema": _STRING}
        for name, description in fields.items()
    ]


_VALIDATORS = ("ETag", "Last-Modified", "Cache-Control", "Vary")
_STORED = ("ETag", "Last-Modified", "Upload-Result")
_NOT_MODIFIED = _response("The client has this version.", *_VALIDATORS)
_FAILED = _problem("A precondition is not met.")
_CONFLICT = _problem("Too many concurrent writes to this name; try again.", "Retry-After")
# Client generators use only the last type.
_TYPES = (*(accepted.media_type for accepted in FORMATS.values()), "application/octet-stream")
_IMAGE = {media_type: {"schema": _BINARY} for media_type in _TYPES}

COMMON: Responses = {
    422: _problem("A parameter is invalid."),
    500: _problem("The service failed."),
    503: _problem("A dependency is unavailable, or the service is overloaded.", "Retry-After"),
}
_ACCESS = {
    "401": _problem("The API key is missing or not valid.", "WWW-Authenticate"),
    "403": _problem(
        "The API key or the link does not allow the request, a page of another web site sent it, "
        "or the deployment does not redirect.",
        "Referrer-Policy",
    ),
}
LIVE: Responses = {200: _response("The process answers.")}
READY: Responses = {
    200: _response("The service is ready."),
    503: _problem(
        "The database, the bucket or the sweeper fails; the detail says which.", "Retry-After"
    ),
}
RANDOM: Responses = {
    200: _response("The metadata of the image.", "Cache-Control"),
    404: _problem("There are no images."),
}
LIST: Responses = {
    200: _response("A page of images.", "Link", "Cache-Control", "Vary"),
    400: _problem("The cursor or the prefix is invalid."),
}
_NAMED: Responses = {
    400: _problem("The name is invalid."),
    404: _problem("There is no such image."),
    412: _FAILED,
}
DESCRIBE: Responses = _NAMED | {
    200: _response("The metadata of the image.", *_VALIDATORS),
    304: _NOT_MODIFIED,
}
DELETE: Responses = _NAMED | {200: _response("The image is deleted."), 409: _CONFLICT}
_BYTES = (
    *(*_VALIDATORS, "Content-Disposition", "Repr-Digest"),
    *("Accept-Ranges", "X-Content-Type-Options"),
)
DOWNLOAD: Responses = _NAMED | {
    200: _response("The image.", *_BYTES, content=_IMAGE),
    206: _response("A part of the image.", *_BYTES, "Content-Range", content=_IMAGE),
    302: _response("The current version has another address.", "Location", "Cache-Control"),
    304: _NOT_MODIFIED,
    307: _response("The bytes are at a presigned URL, which expires.", "Location", "Cache-Control"),
    416: _problem("The range begins after the end of the image.", "Content-Range"),
}
_VARIANT = DOWNLOAD | {
    404: _problem("There is no such image, or the deployment does not offer this variant."),
    503: COMMON[503],
}
VARIANT: Responses = {
    status: response | {"headers": response["headers"] | _headers("Vary")}
    for status, response in _VARIANT.items()
}
UPLOAD: Responses = {
    200: _response(
        "The image was replaced, or already had these bytes.", *_STORED, model=ImageMetadata
    ),
    201: _response("The image is new.", "Location", *_STORED),
    400: _problem("The name, extension, digest or multipart form is invalid."),
    408: _problem("The body arrived too slowly."),
    409: _CONFLICT,
    412: _FAILED,
    413: _problem("The image is too large."),
    415: _problem("The content is not a complete image in an accepted format.", "Accept-Encoding"),
}
PUT: Responses = UPLOAD | {
    400: _problem("The name or a digest is invalid, or there is a Content-Range."),
    415: _problem(
        "The content is not a complete image in an accepted format, or not what Content-Type says.",
        "Accept-Encoding",
    ),
}

LINKS: Responses = {
    200: {"description": "The addresses.", "headers": _headers("Cache-Control")},
    400: _problem("The name is invalid, or the body is too large or incomplete."),
    404: _problem("The deployment has no LINK_SECRETS."),
    408: _problem("The body arrived too slowly."),
}

CONDITIONAL: dict[str, Any] = {"parameters": _parameters(_CONDITIONS)}
DOWNLOAD_EXTRA: dict[str, Any] = {"parameters": [_VERSION, *_parameters(_CONDITIONS | _RANGES)]}
CONDITIONAL_WRITE: dict[str, Any] = {
    "parameters": _parameters(
        {name: _CONDITIONS[name] for name in ("If-Match", "If-None-Match", "If-Unmodified-Since")}
    )
}
_FILE = {"description": "The image, with a file name that has an extension."}
_NAME = {"description": "Default: the file name without its extension."}
_FORM = {
    "type": "object",
    "required": ["file"],
    "properties": {
        "file": _BINARY | _FILE,
        "name": _STRING | {"minLength": 1, "maxLength": 255} | _NAME,
    },
}
_UPLOAD_PARAMETERS = CONDITIONAL_WRITE["parameters"] + _parameters(_DIGESTS)
UPLOAD_FORM: dict[str, Any] = {
    "parameters": _UPLOAD_PARAMETERS,
    "requestBody": {"required": True, "content": {"multipart/form-data": {"schema": _FORM}}},
}
PUT_FILE: dict[str, Any] = {
    "parameters": _UPLOAD_PARAMETERS,
    "requestBody": {
        "required": True,
        "description": "The bytes of the image, with any Content-Type but `multipart/form-data`; "
        "`image/*` must be that of the bytes.",
        "content": {"application/octet-stream": {"schema": _BINARY}},
    },
}
LINK_REQUEST: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/LinkRequest"}}},
    }
}


def complete(openapi: dict[str, Any]) -> dict[str, Any]:
    """Add the schema of problem documents and the security requirements."""
    components = openapi.setdefault("components", {})
    for model in (LinkRequest, Problem):
        components.setdefault("schemas", {})[model.__name__] = model.model_json_schema()
    components["securitySchemes"] = {
        "ApiKey": {
            "type": "http",
            "scheme": "bearer",
            "description": "With API keys, writing requires one, and reading may require one.",
        }
    }
    for path, operations in openapi["paths"].items():
        if not path.startswith("/health"):
            for operation in operations.values():
                operation["security"] = [{"ApiKey": []}, {}]
                operation["responses"] |= _ACCESS
    return openapi
