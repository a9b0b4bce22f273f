"""Receives small bodies that are not files, with limits of size and time."""

import anyio
from fastapi import Request
from starlette.requests import ClientDisconnect

from config import Settings
from errors import InvalidRequestError, UploadTooSlowError

_MAX_BYTES = 4096


async def receive_small_body(request: Request, settings: Settings) -> bytes:
    """Return the body of a request. Raises InvalidRequestError or UploadTooSlowError.

    FastAPI would receive any number of bytes, and wait for them forever.
    """
    body = b""
    try:
        with anyio.fail_after(settings.client_idle_seconds):
            async for chunk in request.stream():
                body += chunk
                if len(body) > _MAX_BYTES:
                    raise InvalidRequestError(f"The body has more than {_MAX_BYTES} bytes.")
    except TimeoutError:
        raise UploadTooSlowError("The body did not arrive in time.") from None
    except ClientDisconnect:
        raise InvalidRequestError("The connection was closed before the end of the body.") from None
    return body
