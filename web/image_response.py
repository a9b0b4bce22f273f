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
from web.cache_control import read_cache_control
from web.caller import caller
from web.conditional_requests import image_validators, is_not_modified
from web.content_disposition import content_disposition
from web.digests import render_digest
from web.ranges import render_content_range, select_range
from web.signed_links import SignedLink
from web.streaming import ByteSource, ObjectResponse

# Smaller bodies are read at once and sent without a streaming task.
_WHOLE_BYTES = 1024 * 1024

_Stored_contra = TypeVar("_Stored_contra", contravariant=True)


class ObjectStore(Protocol[_Stored_contra]):
    """The use cases that read an object of an image or of a variant."""

    def presigned_url(
        self,
        stored: _Stored_contra,
        method: str,
        headers: dict[str, str],
        until: datetime | None,
        /,
    ) -> str | None:
        """Return a URL at which S3 answers `method` with the object and `headers`; None if lost.

        S3 answers for REDIRECT_SECONDS, but not after the moment `until`.
        """

    def open_object(self, stored: _Stored_contra, first: int, last: int, /) -> ByteSource | None:
        """Open the bytes `first` to `last` inclusive; None if the object is gone."""


@dataclass(frozen=True, slots=True)
class DownloadRequest:
    """What a client requests of the bytes of an image or a variant.

    `version` is the tag in its address, empty without one, and `query` the whole query. Without the
    `link`, if there is one, it would be refused.
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
        """Return what `request` asks for, with these parameters of its query and its version."""
        version = requested_version(request)
        query = request.scope["query_string"].decode("latin-1")
        link = caller.get().link
        return cls(request.method, request.headers, disposition, redirect, version, query, link)


@dataclass(frozen=True, slots=True)
class DownloadPlan:
    """The status and headers of the response to a download, and the bytes to send.

    `span` is the first and the last byte, or None without a body. The headers of a redirect to S3
    are those that S3 sends, for REDIRECT_SECONDS but not after the moment `until`.
    """

    status: HTTPStatus
    headers: dict[str, str]
    span: tuple[int, int] | None = None
    until: datetime | None = None


def plan_download(
    asked: DownloadRequest, image: ImageRecord, address: Address, settings: Settings
) -> DownloadPlan:
    """Plan the response to a download from the request and the record of the image alone.

    `address` is the current one of what is asked for. The version comes first, then conditions
    (RFC 9110 section 13.2.2), then redirects to S3, then ranges. Raises PreconditionFailedError,
    RangeNotSatisfiableError or RedirectNotAllowedError.
    """
    if moved := plan_move(asked, address):
        return moved
    validators = image_validators(image)
    left = asked.link.seconds_remaining(datetime.now(UTC)) if asked.link else None
    cache = _cache_control(asked, settings, left)
    if is_not_modified(asked.headers, validators):
        return DownloadPlan(HTTPStatus.NOT_MODIFIED, validators.headers() | cache)
    about = {
        "Content-Type": image.content_type,
        "Content-Disposition": content_disposition(asked.disposition, image.name, image.extension),
    }
    if _redirects(asked, settings) and left != 0:
        return _plan_redirect(asked, about, settings, left)
    headers = cache | about | validators.headers()
    headers |= {
        "Accept-Ranges": "bytes",
        "Repr-Digest": render_digest(image.sha256),
        "X-Content-Type-Options": "nosniff",
    }
    if asked.method == "HEAD":
        return DownloadPlan(HTTPStatus.OK, headers | {"Content-Length": str(image.size_bytes)})
    part = select_range(asked.headers, validators, image.size_bytes)
    if part is None:
        return DownloadPlan(HTTPStatus.OK, headers, (0, image.size_bytes - 1))
    headers["Content-Range"] = render_content_range(part, image.size_bytes)
    return DownloadPlan(HTTPStatus.PARTIAL_CONTENT, headers, part)


def plan_move(asked: DownloadRequest, address: Address) -> DownloadPlan | None:
    """Plan the redirect to the current `address` of what is asked for in another version.

    Returns None if the request names the current version, or none.
    """
    if (location := address.moved(asked.version, asked.query)) is None:
        return None
    return DownloadPlan(HTTPStatus.FOUND, {"Location": location, "Cache-Control": "no-cache"})


def _cache_control(
    asked: DownloadRequest, settings: Settings, seconds: int | None
) -> dict[str, str]:
    private = not is_public(settings, by_name=True)
    versioned = bool(asked.version)
    return read_cache_control(settings, private=private, versioned=versioned, seconds=seconds)


def _plan_redirect(
    asked: DownloadRequest, headers: dict[str, str], settings: Settings, left: int | None
) -> DownloadPlan:
    """Plan a redirect to S3, within the seconds that are `left` of a link.

    S3 answers until its URL expires, and only then does a cache begin to count.
    """
    if left is None:
        cache, until = _cache_control(asked, settings, None), None
    else:
        lives = min(settings.redirect_seconds, left)
        cache = _cache_control(asked, settings, left - lives)
        until = datetime.now(UTC) + timedelta(seconds=lives)
    return DownloadPlan(HTTPStatus.TEMPORARY_REDIRECT, cache | headers, until=until)


def _redirects(asked: DownloadRequest, settings: Settings) -> bool:
    if asked.redirect and settings.redirects == "off":
        raise RedirectNotAllowedError
    return settings.redirects == "default" if asked.redirect is None else asked.redirect


def download_response(
    asked: DownloadRequest,
    plan: DownloadPlan,
    store: ObjectStore[_Stored_contra],
    stored: _Stored_contra,
    bulkhead: Bulkhead,
) -> Response | None:
    """Return the planned response with the bytes of `stored`; None if its object is gone.

    Raises what `store` raises, and StorageUnavailableError if S3 truncates a small body. If S3
    truncates a large one, the connection is aborted.
    """
    if plan.status is HTTPStatus.TEMPORARY_REDIRECT:
        if (url := store.presigned_url(stored, asked.method, plan.headers, plan.until)) is None:
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
