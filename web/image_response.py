"""How the bytes of an image are answered: not at all (304), elsewhere (307), in part, or whole."""

from dataclasses import dataclass

from fastapi import Request
from fastapi.responses import Response

from config import Settings
from errors import RedirectNotAllowedError
from repositories.images import ImageRecord
from services.image_store import ImageStore
from services.names import content_disposition
from web.conditional_requests import Validators, image_validators, is_not_modified, select_range
from web.digests import render_digest
from web.streaming import ObjectResponse

# Bodies up to this size are read whole and answered at once, without a streaming task.
_WHOLE_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Delivery:
    """Answers one GET or HEAD of an image's bytes."""

    request: Request
    store: ImageStore
    disposition: str
    redirect: bool | None

    def answer(self, image: ImageRecord) -> Response:
        """Answer with this version of the image.

        Only a GET that gets bytes asks S3. Raises PreconditionFailedError,
        RangeNotSatisfiableError, RedirectNotAllowedError, and what `ImageStore.open_object` raises.
        """
        validators = image_validators(image)
        headers = validators.headers() | {"Cache-Control": self._settings.cache_control}
        if is_not_modified(self.request.headers, validators):
            return Response(status_code=304, headers=headers)
        content = {
            "Content-Type": image.content_type,
            "Content-Disposition": content_disposition(
                self.disposition, image.name, image.extension
            ),
        }
        if self._redirects():
            return self._redirect(image, content)
        headers |= content | {
            "Accept-Ranges": "bytes",
            "Repr-Digest": render_digest(image.sha256),
            "X-Content-Type-Options": "nosniff",
        }
        if self.request.method == "HEAD":
            return Response(headers=headers | {"Content-Length": str(image.size_bytes)})
        return self._bytes(image, validators, headers)

    @property
    def _settings(self) -> Settings:
        settings: Settings = self.request.app.state.settings
        return settings

    def _redirects(self) -> bool:
        policy = self._settings.redirects
        if self.redirect and policy == "off":
            raise RedirectNotAllowedError
        return self.redirect if self.redirect is not None else policy == "default"

    def _redirect(self, image: ImageRecord, content: dict[str, str]) -> Response:
        answer_headers = content | {"Cache-Control": self._settings.cache_control}
        url = self.store.presigned_url(image, self.request.method, answer_headers)
        # The URL expires, so the redirect must not be kept.
        headers = {"Location": url, "Cache-Control": "no-store"}
        return Response(status_code=307, headers=headers)

    def _bytes(
        self, image: ImageRecord, validators: Validators, headers: dict[str, str]
    ) -> Response:
        status = 200
        first, last = 0, image.size_bytes - 1
        if part := select_range(self.request.headers, validators, image.size_bytes):
            status, (first, last) = 206, part
            headers["Content-Range"] = f"bytes {first}-{last}/{image.size_bytes}"
        length = last - first + 1
        body = self.store.open_object(image, first, last)
        if length <= _WHOLE_BYTES:
            return Response(body.read_all(length), status, headers)
        return ObjectResponse(body, length, status, headers, self._settings.download_idle_timeout)
