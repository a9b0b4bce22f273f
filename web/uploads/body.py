"""Receives the bodies of uploads within their time limits."""

from typing import Protocol

import anyio
from fastapi import Request
from fastapi.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from config import Settings
from errors import InvalidRequestError, UploadTooSlowError
from web.uploads.received_file import ReceivedFile


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
