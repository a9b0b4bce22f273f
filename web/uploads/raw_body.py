"""The body of a PUT, which is the file (RFC 9110 section 9.3.4)."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing

from fastapi import Request

from config import Settings
from web.digests import announced_digests, require_digests
from web.uploads.body import receive
from web.uploads.head import announced_length, image_type, refuse_content_codings, refuse_parts
from web.uploads.received_file import ReceivedFile, Upload
from web.uploads.spool_space import SpoolSpace


@asynccontextmanager
async def receive_file(
    request: Request, name: str, settings: Settings, space: SpoolSpace
) -> AsyncIterator[Upload]:
    """Receive the file of the image `name`, and close it after the block.

    Raises what the functions of `head`, `body` and `space` raise, in that order.
    """
    media_type = image_type(request, settings)
    refuse_parts(request)
    refuse_content_codings(request)
    digests = announced_digests(request.headers)
    max_bytes = settings.max_upload_bytes
    length = announced_length(request, max_bytes, settings)
    with (
        space.file_for(length, max_bytes) as spool,
        closing(ReceivedFile(settings, spool, hashing=bool(digests))) as file,
    ):
        await receive(request, file.write, file, settings)
        require_digests(digests, file.digest())
        yield Upload(file.content, name, media_type=media_type)
