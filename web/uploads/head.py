"""What the head of an upload decides before its body arrives: type, coding, part, length."""

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
    """Return the media type of an image that Content-Type names; None if it names no image.

    Others are ignored, because clients send defaults, such as that of a form. The inspector
    compares the type with the bytes. Raises UnsupportedMediaTypeError.
    """
    named = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if named == "multipart/form-data":
        raise UnsupportedMediaTypeError("PUT takes the bytes of the image; send forms with POST.")
    if not named.startswith("image/"):
        return None
    subtype = named.removeprefix("image/").removeprefix("x-")
    known = FORMATS.get(ALIASES.get(subtype, subtype))
    accepted = {FORMATS[extension] for extension in settings.allowed_extensions}
    if known is None or known not in accepted:
        raise UnsupportedMediaTypeError(f"Images of the type {named} are not accepted here.")
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


def announced_length(request: Request, most: int, settings: Settings) -> int:
    """Return Content-Length, or 0 without one.

    Raises ImageTooLargeError if that is more than `most`, before the body arrives.
    """
    announced = request.headers.get("content-length", "0")
    if not announced.isdecimal():
        raise InvalidRequestError("Content-Length is not a number.")
    if int(announced) > most:
        raise ImageTooLargeError.of(settings.max_upload_bytes)
    return int(announced)
