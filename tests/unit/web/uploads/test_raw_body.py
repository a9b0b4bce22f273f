"""A PUT is refused as early as possible, and its file is closed at the end."""

from collections.abc import Mapping

import pytest
from starlette.types import Message

from config import Settings
from errors import (
    ContentCodingError,
    DigestMismatchError,
    ImageTooLargeError,
    InvalidRequestError,
    ServiceError,
    UnsupportedMediaTypeError,
    UploadTooSlowError,
)
from tests.support.records import SETTINGS
from tests.support.upload_messages import CONTENT, piece, upload_from
from web.digests import render_digest
from web.uploads.raw_body import receive_file
from web.uploads.received_file import Upload
from web.uploads.spool_space import SpoolSpace

SHA256 = "ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73"
SMALL = SETTINGS.model_copy(update={"max_upload_bytes": len(CONTENT)})


def received(
    headers: Mapping[str, str], *messages: Message, settings: Settings = SETTINGS
) -> Upload:
    """Receive a file in these messages."""
    return upload_from(
        "PUT",
        messages,
        headers,
        lambda request: receive_file(request, "a", settings, SpoolSpace(1)),
    )


@pytest.mark.parametrize("headers", [{}, {"Content-Length": "7"}, {"Repr-Digest": ""}])
@pytest.mark.parametrize("digest", ["", render_digest(SHA256)])
def test_file(headers: dict[str, str], digest: str) -> None:
    """A file is received in pieces, whether or not its length or digest is announced."""
    pieces = [piece(CONTENT[:2], more=True), piece(CONTENT[2:])]
    upload = received(headers | {"Content-Digest": digest}, *pieces, settings=SMALL)
    assert (upload.name, upload.extension, upload.media_type) == ("a", None, None)


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ("image/png", "image/png"),
        ("IMAGE/PNG; charset=x", "image/png"),
        ("image/jpg", "image/jpeg"),
        ("image/x-png", "image/png"),
        ("application/x-www-form-urlencoded", None),
        ("multipart/mixed", None),
        ("image", None),
    ],
)
def test_type(sent: str, expected: str | None) -> None:
    """Only image types determine what the file must be."""
    assert received({"Content-Type": sent}, piece(CONTENT)).media_type == expected


@pytest.mark.parametrize(
    ("headers", "error"),
    [
        ({"Content-Type": "multipart/form-data; boundary=x"}, UnsupportedMediaTypeError),
        ({"Content-Type": "image/tiff"}, UnsupportedMediaTypeError),
        ({"Content-Type": "image/*"}, UnsupportedMediaTypeError),
        ({"Content-Range": "bytes 0-1/2"}, InvalidRequestError),
        ({"Content-Encoding": "gzip"}, ContentCodingError),
        ({"Content-Length": "8"}, ImageTooLargeError),
        ({"Content-Length": "x"}, InvalidRequestError),
        ({"Content-Digest": "sha-256=:AAAA:"}, DigestMismatchError),
    ],
)
def test_refused_by_its_head(headers: dict[str, str], error: type[ServiceError]) -> None:
    """Errors in the head are found before a byte of the body is read."""
    with pytest.raises(error):
        received(headers, settings=SMALL)


def test_refused_by_its_body() -> None:
    """A body that ends early, is too long, pauses or has another digest is refused."""
    with pytest.raises(InvalidRequestError):
        received({}, piece(CONTENT, more=True), {"type": "http.disconnect"})
    with pytest.raises(ImageTooLargeError):
        received({}, piece(CONTENT, more=True), piece(b"x"), settings=SMALL)
    impatient = SETTINGS.model_copy(update={"client_idle_seconds": 0.01})
    with pytest.raises(UploadTooSlowError):
        received({}, piece(CONTENT, more=True), settings=impatient)
    with pytest.raises(DigestMismatchError):
        received({"Content-Digest": render_digest("0" * 64)}, piece(CONTENT))
