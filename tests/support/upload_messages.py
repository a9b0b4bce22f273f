"""Receives an upload from the messages of a server, without a server."""

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager

import anyio
from fastapi import Request
from starlette.types import Message

from web.uploads.received_file import Upload

CONTENT = b"content"


def piece(body: bytes, *, more: bool = False) -> Message:
    """Return the message of a server with a piece of the body."""
    return {"type": "http.request", "body": body, "more_body": more}


def upload_from(
    method: str,
    messages: tuple[Message, ...],
    headers: Mapping[str, str],
    receive_upload: Callable[[Request], AbstractAsyncContextManager[Upload]],
) -> Upload:
    """Receive CONTENT in these messages, and check that its file is closed afterwards.

    After the last message the client sends nothing more.
    """
    waiting = list(messages)

    async def receive() -> Message:
        if not waiting:
            await anyio.sleep_forever()
        return waiting.pop(0)

    async def run() -> Upload:
        raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        request = Request({"type": "http", "method": method, "headers": raw}, receive)
        async with receive_upload(request) as upload:
            upload.file.seek(0)
            assert upload.file.read() == CONTENT
        assert upload.file.closed
        return upload

    return anyio.run(run)
