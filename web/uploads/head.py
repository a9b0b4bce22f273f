"""Checks of the head of an upload, before its body arrives: type, coding, part, length."""

from fastapi import Request

from config import FORMATS, Settings
from config.formats import ALIASES
from errors import (
    ContentCodingError,
    ImageTooLargeError,
    InvalidRequestError,
    UnsupportedMediaTypeError,
)


def image_type(request: Request, settings: Settings) -> str | None:
    """Return the media type in Content-Type if it is that of an image, otherwise None.

    Other types are ignored, because clients send defaults. The inspector compares the type with
    the bytes. Raises UnsupportedMediaTypeError for forms and formats that are not accepted.
    """
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type == "multipart/form-data":
        raise UnsupportedMediaTypeError("PUT takes the bytes of the image; send forms with POST.")
    if not content_type.startswith("image/"):
        return None
    subtype = content_type.removeprefix("image/").removeprefix("x-")
    known = FORMATS.get(ALIASES.get(subtype, subtype))
    if known not in {FORMATS[extension] for extension in settings.allowed_extensions}:
        raise UnsupportedMediaTypeError(f"Images of type {content_type} are not accepted.")
    return known.media_type


def refuse_content_codings(request: Request) -> None:
    """Raise ContentCodingError if the body is compressed."""
    codings = {value.lower() for value in request.headers.getlist("content-encoding")}
    if codings - {"identity", ""}:
        error = ContentCodingError("Send the body without Content-Encoding.")
        error.headers["Accept-Encoding"] = "identity"  # RFC 9110 section 15.5.16
        raise error


def refuse_parts(request: Request) -> None:
    """Raise InvalidRequestError if the body is a part of a file (RFC 9110 section 14.5)."""
    if "content-range" in request.headers:
        raise InvalidRequestError("PUT takes whole images: send no Content-Range.")


def announced_length(request: Request, max_bytes: int, settings: Settings) -> int:
    """Return Content-Length, or 0 without one.

    Raises InvalidRequestError, or ImageTooLargeError if it is more than `max_bytes`.
    """
    announced = request.headers.get("content-length", "0")
    if not announced.isdecimal():
        raise InvalidRequestError("Content-Length is not a number.")
    if int(announced) > max_bytes:
        raise ImageTooLargeError.of(settings.max_upload_bytes)
    return int(announced)
