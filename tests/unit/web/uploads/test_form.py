"""An upload is refused as early as possible, and its file is closed at the end."""

import hashlib
from collections.abc import Mapping

import pytest
from starlette.types import Message

from config import Settings
from errors import (
    ContentCodingError,
    DigestMismatchError,
    ImageTooLargeError,
    InvalidMultipartError,
    InvalidRequestError,
    ServiceError,
    UploadTooSlowError,
)
from tests.support.records import SETTINGS
from tests.support.upload_messages import CONTENT, piece, upload_from
from tests.support.uploads import FORM, form
from web.digests import render_digest
from web.uploads.form import receive_form
from web.uploads.received_file import Upload
from web.uploads.spool_space import SpoolSpace

BODY = form(('name="file"; filename="a.png"', CONTENT))


def received(
    headers: Mapping[str, str], *messages: Message, settings: Settings = SETTINGS
) -> Upload:
    """Receive a form in these messages."""
    return upload_from(
        "POST", messages, headers, lambda request: receive_form(request, settings, SpoolSpace(1))
    )


@pytest.mark.parametrize(
    "announced",
    [
        {},
        {"Content-Length": str(len(BODY))},
        {"Content-Digest": render_digest(hashlib.sha256(BODY).hexdigest())},
        {"Content-Digest": render_digest(hashlib.sha256(CONTENT).hexdigest())},
    ],
)
def test_form(announced: dict[str, str]) -> None:
    """A form is received in pieces, with and without its length, its digest or that of its file."""
    parsed = received(FORM | announced, piece(BODY[:50], more=True), piece(BODY[50:]))
    assert (parsed.name, parsed.extension) == ("a", "png")


@pytest.mark.parametrize(
    ("headers", "error"),
    [
        ({"Content-Type": "image/png"}, InvalidMultipartError),
        ({"Content-Type": "multipart/form-data; boundary=" + "x" * 201}, InvalidMultipartError),
        (FORM | {"Content-Encoding": "gzip"}, ContentCodingError),
        (FORM | {"Content-Length": "999999999"}, ImageTooLargeError),
        (FORM | {"Content-Digest": "sha-256=:AAAA:"}, DigestMismatchError),
    ],
)
def test_refused_by_its_head(headers: dict[str, str], error: type[ServiceError]) -> None:
    """Errors in the head are found before a byte of the body is read."""
    with pytest.raises(error):
        received(headers)


@pytest.mark.parametrize(
    "last",
    [{"type": "http.disconnect"}, piece(b""), piece(b"\r\n--another--")],
    ids=["disconnected", "cut", "another boundary"],
)
def test_incomplete(last: Message) -> None:
    """A body that ends before its closing boundary is refused."""
    with pytest.raises(InvalidRequestError):
        received(FORM, piece(BODY[:-9], more=True), last)


def test_stalled() -> None:
    """A client that pauses for too long is refused."""
    impatient = SETTINGS.model_copy(update={"client_idle_seconds": 0.01})
    with pytest.raises(UploadTooSlowError):
        received(FORM, piece(BODY[:-9], more=True), settings=impatient)
