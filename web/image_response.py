"""Responses to downloads: a redirect (302, 307), 304, a range, or the whole object."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Protocol, Self, TypeVar

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response

from config import Settings
from errors import RedirectNotAllowedError
from services.image_store import ImageRecord
from web.access import is_public
from web.addresses import Address, requested_version
from web.bulkhead import Bulkhead
from web.cache_control import read_cache_control, vary_by_key
from web.caller import caller
from web.conditional_requests import is_not_modified
from web.content_disposition import content_disposition
from web.digests import render_digest
from web.ranges import render_content_range, select_range
from web.signed_links import SignedLink
from web.streaming import ByteSource, ObjectResponse
from web.validators import image_validators

# Bodies up to this size are read at once and sent without a streaming task.
_WHOLE_BYTES = 1024 * 1024

_Stored_contra = TypeVar("_Stored_contra", contravariant=True)


class ObjectStore(Protocol[_Stored_contra]):
    """The use cases that read the object of an image or a variant."""

    def presigned_url(
        self,
        stored: _Stored_contra,
        method: str,
        headers: dict[str, str],
        until: datetime | None,
        /,
    ) -> str | None:
        """Return a URL at which S3 answers `method` with the object and `headers`; None if lost.

        The URL expires after REDIRECT_SECONDS, and not later than `until`.
        """

    def open_object(self, stored: _Stored_contra, first: int, last: int, /) -> ByteSource | None:
        """Open the bytes `first` to `last` inclusive; None if the object is lost."""


@dataclass(frozen=True, slots=True)
class DownloadRequest:
    """A request for the bytes of an image or a variant.

    `version` is the tag in the address, or empty, and `query` the whole query. `link` is the signed
    link that allows the request, if it needs one.
    """

    method: str
    headers: Headers
    disposition: str = "attachment"
    redirect: bool | None = None
    version: str = ""
    query: str = ""
    link: SignedLink | None = None

    @classmethod
    def of(cls, request: Request, disposition: str, redirect: bool | None) -> Self:  # noqa: FBT001
        """Return `request` as a download, with these parameters of its query."""
        version = requested_version(request)
        query = request.scope["query_string"].decode("latin-1")
        link = caller.get().link
        return cls(request.method, request.headers, disposition, redirect, version, query, link)


@dataclass(frozen=True, slots=True)
class DownloadPlan:
    """The status and headers of the response to a download, and the bytes to send.

    `span` is the first and the last byte, or None without a body. The headers of a redirect to S3
    are those that S3 sends. Its URL expires not later than `until`.
    """

    status: HTTPStatus
    headers: dict[str, str]
    span: tuple[int, int] | None = None
    until: datetime | None = None


def plan_download(
    download: DownloadRequest, image: ImageRecord, address: Address, settings: Settings
) -> DownloadPlan:
    """Plan the response to a download from the request and the record of the image alone.

    `address` is that of the current version. The requested version is considered first, then
    conditions (RFC 9110 section 13.2.2), redirects to S3, and ranges. Raises
    PreconditionFailedError, RangeNotSatisfiableError or RedirectNotAllowedError.
    """
    if moved := plan_move(download, address):
        return moved
    validators = image_validators(image)
    remaining = download.link.seconds_remaining(datetime.now(UTC)) if download.link else None
    cache = _cache_control(download, settings, remaining)
    if not is_public(settings, by_name=True):
        cache |= vary_by_key(settings)
    if is_not_modified(download.headers, validators):
        return DownloadPlan(HTTPStatus.NOT_MODIFIED, validators.headers() | cache)
    disposition = content_disposition(download.disposition, image.name, image.extension)
    representation = {"Content-Type": image.content_type, "Content-Disposition": disposition}
    if _redirects(download, settings) and remaining != 0:
        return _plan_redirect(download, representation, settings, remaining)
    headers = cache | representation | validators.headers()
    headers |= {
        "Accept-Ranges": "bytes",
        "Repr-Digest": render_digest(image.sha256),
        "X-Content-Type-Options": "nosniff",
    }
    if download.method == "HEAD":
        return DownloadPlan(HTTPStatus.OK, headers | {"Content-Length": str(image.size_bytes)})
    part = select_range(download.headers, validators, image.size_bytes)
    if part is None:
        return DownloadPlan(HTTPStatus.OK, headers, (0, image.size_bytes - 1))
    headers["Content-Range"] = render_content_range(part, image.size_bytes)
    return DownloadPlan(HTTPStatus.PARTIAL_CONTENT, headers, part)


def plan_move(download: DownloadRequest, address: Address) -> DownloadPlan | None:
    """Plan the redirect from another version to the current `address`.

    Returns None if the request names the current version or no version.
    """
    if (location := address.moved(download.version, download.query)) is None:
        return None
    return DownloadPlan(HTTPStatus.FOUND, {"Location": location, "Cache-Control": "no-cache"})


def _cache_control(
    download: DownloadRequest, settings: Settings, seconds: int | None
) -> dict[str, str]:
    private = not is_public(settings, by_name=True)
    versioned = bool(download.version)
    return read_cache_control(settings, private=private, versioned=versioned, seconds=seconds)


def _plan_redirect(
    download: DownloadRequest, headers: dict[str, str], settings: Settings, remaining: int | None
) -> DownloadPlan:
    """Plan a redirect to S3, within the `remaining` seconds of a link, if any.

    A cache counts max-age from S3's response, which may come just before the URL expires. So the
    lifetime of the URL is subtracted.
    """
    if remaining is None:
        cache, until = _cache_control(download, settings, None), None
    else:
        lifetime = min(settings.redirect_seconds, remaining)
        cache = _cache_control(download, settings, remaining - lifetime)
        until = datetime.now(UTC) + timedelta(seconds=lifetime)
    return DownloadPlan(HTTPStatus.TEMPORARY_REDIRECT, cache | headers, until=until)


def _redirects(download: DownloadRequest, settings: Settings) -> bool:
    if download.redirect and settings.redirects == "off":
        raise RedirectNotAllowedError
    return settings.redirects == "default" if download.redirect is None else download.redirect


def download_response(
    download: DownloadRequest,
    plan: DownloadPlan,
    store: ObjectStore[_Stored_contra],
    stored: _Stored_contra,
    bulkhead: Bulkhead,
) -> Response | None:
    """Return the planned response with the bytes of `stored`; None if its object is lost.

    Raises what `store` raises, and StorageUnavailableError if S3 truncates a small body. If S3
    truncates a large body, the server aborts the connection.
    """
    if plan.status is HTTPStatus.TEMPORARY_REDIRECT:
        if (url := store.presigned_url(stored, download.method, plan.headers, plan.until)) is None:
            return None
        # The URL expires, so caches must not store the redirect.
        headers = {"Location": url, "Cache-Control": "no-store"}
        return Response(status_code=plan.status, headers=headers)
    if plan.span is None:
        return Response(status_code=plan.status, headers=plan.headers)
    first, last = plan.span
    if (body := store.open_object(stored, first, last)) is None:
        return None
    length = last - first + 1
    if length <= _WHOLE_BYTES:
        return Response(body.read_all(length), plan.status, plan.headers)
    return ObjectResponse(body, length, plan.status, plan.headers, bulkhead)
