"""What bodies of uploads have in common: their head is checked first, and time limits apply."""

from typing import Protocol

import anyio
from fastapi import Request
from fastapi.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from config import Settings
from errors import (
    ContentCodingError,
    DigestMismatchError,
    InvalidRequestError,
    UploadTooSlowError,
)
from web.received_file import ReceivedFile, too_large


class BodyParser(Protocol):
    """What takes a body as it arrives."""

    def write(self, chunk: bytes, /) -> None:
        """Take the next bytes."""


async def receive(
    request: Request, parser: BodyParser, file: ReceivedFile, settings: Settings
) -> None:
    """Pass the body to `parser`, which writes its file to `file`.

    Raises UploadTooSlowError, InvalidRequestError if the client disconnects, or what they raise.
    """
    try:
        await _receive(request, parser, file, settings)
    except TimeoutError:
        raise UploadTooSlowError from None
    except ClientDisconnect:
        raise InvalidRequestError("The connection was closed before the end of the body.") from None


async def _receive(
    request: Request, parser: BodyParser, file: ReceivedFile, settings: Settings
) -> None:
    latest = anyio.current_time() + settings.upload_timeout_seconds
    # One scope with a moving deadline: one for each chunk costs as much as parsing the chunk.
    with anyio.fail_after(
        min(settings.upload_timeout_seconds, settings.client_idle_seconds)
    ) as scope:
        async for chunk in request.stream():
            parser.write(chunk)
            if file.must_flush:
                await _flush(file)
            scope.deadline = min(latest, anyio.current_time() + settings.client_idle_seconds)
    await _flush(file)


async def _flush(file: ReceivedFile) -> None:
    await run_in_threadpool(file.flush) if file.uses_disk else file.flush()


def refuse_content_codings(request: Request) -> None:
    """Raise ContentCodingError if the body is compressed."""
    codings = {value.lower() for value in request.headers.getlist("content-encoding")}
    if codings - {"identity", ""}:
        error = ContentCodingError("Send the body without Content-Encoding.")
        error.headers["Accept-Encoding"] = "identity"  # RFC 9110 section 15.5.16
        raise error


def announced_length(request: Request, most: int, settings: Settings) -> int:
    """Return Content-Length, or 0 without one.

    Raises ImageTooLargeError if that is more than `most`, before the body arrives.
    """
    announced = request.headers.get("content-length", "0")
    if not announced.isdecimal():
        raise InvalidRequestError("Content-Length is not a number.")
    if int(announced) > most:
        raise too_large(settings)
    return int(announced)


def require_digests(announced: list[bytes], *actual: bytes) -> None:
    """Raise DigestMismatchError unless each announced digest is one of the actual ones."""
    if not set(announced) <= set(actual):
        raise DigestMismatchError("The upload does not have the announced SHA-256.")
