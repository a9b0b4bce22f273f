"""The upload form: `multipart/form-data` with one `file` and an optional `name`.

FastAPI's own form parsing accepts a body without its closing boundary, decodes fields that are not
UTF-8 as Latin-1, and makes a thread hop for every 64 KB of a large file.
"""

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing

from fastapi import Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header

from config import Settings
from errors import InvalidMultipartError
from web.digests import announced_digests, require_digests
from web.uploads.body import receive
from web.uploads.form_parser import MAX_OVERHEAD_BYTES, FormParser
from web.uploads.head import announced_length, refuse_content_codings
from web.uploads.received_file import ReceivedFile, Upload
from web.uploads.spool_space import SpoolSpace

_MAX_CONTENT_TYPE_BYTES = 1024


@asynccontextmanager
async def receive_form(
    request: Request, settings: Settings, space: SpoolSpace
) -> AsyncIterator[Upload]:
    """Receive the form of an upload, and close its file after the block.

    An announced digest may be that of the body (RFC 9530), or of the file alone, which clients can
    compute without rendering the form. Raises InvalidMultipartError, and what the functions of
    `head`, `body` and `space` raise, each as early as possible.
    """
    refuse_content_codings(request)
    digests = announced_digests(request.headers)
    boundary = _boundary(request)
    max_bytes = settings.max_upload_bytes + MAX_OVERHEAD_BYTES
    length = announced_length(request, max_bytes, settings)
    body_hash = hashlib.sha256()
    with (
        space.file_for(length, max_bytes) as spool,
        closing(ReceivedFile(settings, spool, hashing=bool(digests))) as file,
    ):
        parser = FormParser(boundary, file, settings)

        def write(chunk: bytes) -> None:
            parser.write(chunk)
            if digests:
                body_hash.update(chunk)

        try:
            await receive(request, write, file, settings)
        except FormParserError:
            raise InvalidMultipartError("The form is malformed.") from None
        upload = parser.upload()
        require_digests(digests, file.digest(), body_hash.digest())
        yield upload


def _boundary(request: Request) -> bytes:
    header = request.headers.get("content-type", "")
    # Parsing parameters takes quadratic time.
    if len(header) > _MAX_CONTENT_TYPE_BYTES:
        raise InvalidMultipartError("The Content-Type is too long.")
    content_type, options = parse_options_header(header)
    if content_type != b"multipart/form-data":
        raise InvalidMultipartError("The body must be multipart/form-data.")
    boundary = options.get(b"boundary", b"")
    if not 0 < len(boundary) <= 200:
        raise InvalidMultipartError("The multipart boundary is missing or too long.")
    return boundary
