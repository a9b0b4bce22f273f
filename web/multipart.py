"""The upload form: `multipart/form-data` with one `file` and an optional `name`.

FastAPI's form parsing is not used: it accepts a body without its closing boundary, decodes fields
that are not UTF-8 as Latin-1, and makes a thread hop for every 64 KB of a large file.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing

import anyio
from fastapi import Request
from fastapi.concurrency import run_in_threadpool
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header
from starlette.requests import ClientDisconnect

from config import Settings
from errors import ContentCodingError, InvalidMultipartError, UploadTooSlowError
from web.digests import announced_digests
from web.form_parser import MAX_OVERHEAD_BYTES, FormParser, UploadForm, too_large
from web.spool_space import SpoolSpace

_MAX_CONTENT_TYPE_BYTES = 1024


@asynccontextmanager
async def receive_form(
    request: Request, settings: Settings, space: SpoolSpace
) -> AsyncIterator[UploadForm]:
    """Receive the form of an upload; close its file at the end.

    An announced digest may be that of the whole body (RFC 9530), or of the file alone, which
    clients can compute without rendering the form. Raises ContentCodingError, ImageTooLargeError,
    InvalidMultipartError, DigestMismatchError, UploadTooSlowError, or what `space` raises, each as
    early as possible.
    """
    _refuse_content_codings(request)
    digests = announced_digests(request.headers)
    boundary = _boundary(request)
    length, most = _announced_length(request, settings), _most_bytes(settings)
    form = UploadForm()
    with (
        space.file_for(length, most) as spool,
        closing(FormParser(form, boundary, settings, spool, hashing=bool(digests))) as parser,
    ):
        try:
            await _receive(request, parser, settings)
        except TimeoutError:
            raise UploadTooSlowError from None
        except FormParserError:
            raise InvalidMultipartError("The form is malformed.") from None
        except ClientDisconnect:
            raise InvalidMultipartError(
                "The connection was closed before the end of the form."
            ) from None
        parser.require_complete()
        parser.require_digests(digests)
        yield form


async def _receive(request: Request, parser: FormParser, settings: Settings) -> None:
    latest = anyio.current_time() + settings.upload_timeout_seconds
    # One scope with a moving deadline: one for each chunk costs as much as parsing the chunk.
    with anyio.fail_after(
        min(settings.upload_timeout_seconds, settings.client_idle_seconds)
    ) as scope:
        async for chunk in request.stream():
            parser.write(chunk)
            if parser.must_flush:
                await _flush(parser)
            scope.deadline = min(latest, anyio.current_time() + settings.client_idle_seconds)
    await _flush(parser)


async def _flush(parser: FormParser) -> None:
    await run_in_threadpool(parser.flush) if parser.uses_disk else parser.flush()


def _refuse_content_codings(request: Request) -> None:
    codings = {value.lower() for value in request.headers.getlist("content-encoding")}
    if codings - {"identity", ""}:
        error = ContentCodingError("Send the form without Content-Encoding.")
        error.headers["Accept-Encoding"] = "identity"  # RFC 9110 section 15.5.16
        raise error


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


def _announced_length(request: Request, settings: Settings) -> int:
    """Return Content-Length or 0. Raises ImageTooLargeError before the body arrives."""
    announced = request.headers.get("content-length", "0")
    if not announced.isdecimal():
        raise InvalidMultipartError("Content-Length is not a number.")
    if int(announced) > _most_bytes(settings):
        raise too_large(settings)
    return int(announced)


def _most_bytes(settings: Settings) -> int:
    return settings.max_upload_bytes + MAX_OVERHEAD_BYTES
