"""The body of a PUT, which is the file (RFC 9110 section 9.3.4)."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing

from fastapi import Request

from config import FORMATS, Settings
from config.formats import ALIASES
from errors import UnsupportedMediaTypeError
from web.digests import announced_digests, require_digests
from web.received_file import ReceivedFile, Upload
from web.spool_space import SpoolSpace
from web.upload_body import receive
from web.upload_head import announced_length, refuse_content_codings, refuse_parts


@asynccontextmanager
async def receive_file(
    request: Request, name: str, settings: Settings, space: SpoolSpace
) -> AsyncIterator[Upload]:
    """Receive the file of the image `name`; close it at the end.

    Raises UnsupportedMediaTypeError, or what the functions of `upload_head`, `upload_body` and
    `space` raise. What the head decides comes before the body arrives.
    """
    media_type = _image_type(request, settings)
    refuse_parts(request)
    refuse_content_codings(request)
    digests = announced_digests(request.headers)
    most = settings.max_upload_bytes
    length = announced_length(request, most, settings)
    with (
        space.file_for(length, most) as spool,
        closing(ReceivedFile(settings, spool, hashing=bool(digests))) as file,
    ):
        await receive(request, file, file, settings)
        require_digests(digests, file.digest())
        yield Upload(file.content, name, media_type=media_type)


def _image_type(request: Request, settings: Settings) -> str | None:
    """Return the media type of an image that Content-Type names; None if it names no image.

    Others are ignored, because clients send defaults, such as that of a form.
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
