"""Receives the bodies of uploads within their time limits."""

from collections.abc import Callable

import anyio
from fastapi import Request
from fastapi.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from config import Settings
from errors import InvalidRequestError, UploadTooSlowError
from web.uploads.received_file import ReceivedFile


async def receive(
    request: Request, write: Callable[[bytes], None], file: ReceivedFile, settings: Settings
) -> None:
    """Pass the body to `write`, which fills `file`.

    Raises UploadTooSlowError, InvalidRequestError if the client disconnects, or what `write`
    raises.
    """
    timeout, idle = settings.upload_timeout_seconds, settings.client_idle_seconds
    end = anyio.current_time() + timeout
    try:
        # One scope with a moving deadline: one for each chunk costs as much as parsing the chunk.
        with anyio.fail_after(min(timeout, idle)) as scope:
            async for chunk in request.stream():
                write(chunk)
                if file.must_flush:
                    await _flush(file)
                scope.deadline = min(end, anyio.current_time() + idle)
    except TimeoutError:
        raise UploadTooSlowError from None
    except ClientDisconnect:
        raise InvalidRequestError("The connection was closed before the end of the body.") from None
    await _flush(file)


async def _flush(file: ReceivedFile) -> None:
    await run_in_threadpool(file.flush) if file.uses_disk else file.flush()
