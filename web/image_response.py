"""How a download is answered: not at all (304), elsewhere (307), in part, or whole."""

from dataclasses import dataclass
from http import HTTPStatus
from typing import Protocol, TypeVar

from starlette.datastructures import Headers
from starlette.responses import Response

from config import Settings
from errors import RedirectNotAllowedError
from services.image_store import ImageRecord
from web.bulkhead import Bulkhead
from web.cache_control import read_cache_control
from web.conditional_requests import Validators, image_validators, is_not_modified
from web.content_disposition import content_disposition
from web.digests import render_digest
from web.ranges import select_range
from web.streaming import ByteSource, ObjectResponse

# Bodies up to this size are read whole and answered at once, without a streaming task.
_WHOLE_BYTES = 1024 * 1024


_Stored_contra = TypeVar("_Stored_contra", contravariant=True)


class ObjectStore(Protocol[_Stored_contra]):
    """The use cases that know an object: of an image, or of a variant."""

    def presigned_url(
        self, stored: _Stored_contra, method: str, headers: dict[str, str], /
    ) -> str | None:
        """Return a URL at which S3 answers `method` with the object and `headers`; None if lost."""

    def open_object(self, stored: _Stored_contra, first: int, last: int, /) -> ByteSource | None:
        """Open the bytes `first` to `last` inclusive; None when the object is gone."""


@dataclass(frozen=True, slots=True)
class DownloadRequest:
    """What a client asks of an image's bytes."""

    method: str
    headers: Headers
    disposition: str = "attachment"
    redirect: bool | None = None


@dataclass(frozen=True, slots=True)
class DownloadPlan:
    """How a download is to be answered: with a status, headers, and perhaps bytes.

    `span` is the first and the last byte to send, None where the answer has no body. Of a redirect
    the headers are those with which S3 is to answer.
    """

    status: HTTPStatus
    headers: dict[str, str]
    span: tuple[int, int] | None = None

    @property
    def redirects(self) -> bool:
        """Whether S3 itself is to answer."""
        return self.status is HTTPStatus.TEMPORARY_REDIRECT


def plan_download(asked: DownloadRequest, image: ImageRecord, settings: Settings) -> DownloadPlan:
    """Decide how a download is answered, from the request and the image's record alone.

    In the order of RFC 9110 section 13.2.2: conditions, then redirects, then the range. Raises
    PreconditionFailedError, RangeNotSatisfiableError or RedirectNotAllowedError.
    """
    validators = image_validators(image)
    cache = read_cache_control(settings)
    if is_not_modified(asked.headers, validators):
        return DownloadPlan(HTTPStatus.NOT_MODIFIED, validators.headers() | cache)
    content = _content_headers(asked, image)
    if _redirects(asked, settings):
        return DownloadPlan(HTTPStatus.TEMPORARY_REDIRECT, content | cache)
    headers = validators.headers() | cache | content | _byte_headers(image)
    if asked.method == "HEAD":
        return DownloadPlan(HTTPStatus.OK, headers | {"Content-Length": str(image.size_bytes)})
    return _plan_bytes(asked, image, validators, headers)


def download_response(
    asked: DownloadRequest,
    plan: DownloadPlan,
    store: ObjectStore[_Stored_contra],
    stored: _Stored_contra,
    bulkhead: Bulkhead,
) -> Response | None:
    """Answer as planned with what `store` has of `stored`; None when its object is gone.

    Raises what opening it raises, and StorageUnavailableError when a small body is cut short; a
    large one ends the connection.
    """
    if plan.redirects:
        url = store.presigned_url(stored, asked.method, plan.headers)
        return _redirect(url) if url else None
    if plan.span is None:
        return Response(status_code=plan.status, headers=plan.headers)
    first, last = plan.span
    if (body := store.open_object(stored, first, last)) is None:
        return None
    length = last - first + 1
    if length <= _WHOLE_BYTES:
        return Response(body.read_all(length), plan.status, plan.headers)
    return ObjectResponse(body, length, plan.status, plan.headers, bulkhead)


def _redirect(url: str) -> Response:
    """Send the client to a presigned URL; it expires, so the redirect must not be kept.

    When it does is said by `Bucket.presigned_url` in s3_client.py.
    """
    return Response(status_code=307, headers={"Location": url, "Cache-Control": "no-store"})


def _content_headers(asked: DownloadRequest, image: ImageRecord) -> dict[str, str]:
    disposition = content_disposition(asked.disposition, image.name, image.extension)
    return {"Content-Type": image.content_type, "Content-Disposition": disposition}


def _byte_headers(image: ImageRecord) -> dict[str, str]:
    return {
        "Accept-Ranges": "bytes",
        "Repr-Digest": render_digest(image.sha256),
        "X-Content-Type-Options": "nosniff",
    }


def _redirects(asked: DownloadRequest, settings: Settings) -> bool:
    if asked.redirect and settings.redirects == "off":
        raise RedirectNotAllowedError
    return settings.redirects == "default" if asked.redirect is None else asked.redirect


def _plan_bytes(
    asked: DownloadRequest, image: ImageRecord, validators: Validators, headers: dict[str, str]
) -> DownloadPlan:
    part = select_range(asked.headers, validators, image.size_bytes)
    if part is None:
        return DownloadPlan(HTTPStatus.OK, headers, (0, image.size_bytes - 1))
    first, last = part
    headers["Content-Range"] = f"bytes {first}-{last}/{image.size_bytes}"
    return DownloadPlan(HTTPStatus.PARTIAL_CONTENT, headers, part)
