"""Answers requests for variants: with the stored variant, or with one that is made first.

web/image_response.py has the headers, statuses and ranges, which are those of a download.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol, cast

from starlette.concurrency import run_in_threadpool
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from config import Settings
from services.image_store import ImageRecord
from services.variant_formats import VariantChoice
from services.variant_store import MissingVariant, Variant
from web.addresses import Address, Addresses
from web.bulkhead import Bulkhead
from web.image_response import (
    DownloadRequest,
    ObjectStore,
    download_response,
    plan_download,
    plan_move,
)
from web.variant_choice import choose_variant, vary_on_accept
from web.variant_queue import VariantQueue


class VariantSource(ObjectStore[Variant], Protocol):
    """The use cases of variants."""

    def find(self, name: str, choice: VariantChoice, /) -> Variant | MissingVariant:
        """Return the variant of the image `name` if it is stored, else what `make` needs."""

    def make(self, missing: MissingVariant, /) -> Variant:
        """Make a variant; return it with its content."""


@dataclass(frozen=True, slots=True)
class VariantRequest:
    """Which variant a client requests, such as `320.webp` of the image `name`, and how.

    `client` identifies who waits if it must be made.
    """

    download: DownloadRequest
    addresses: Addresses
    name: str
    variant: str
    client: str

    def address_of(self, original: ImageRecord) -> Address:
        """Return the address of this variant of an image."""
        return self.addresses.variant(original, self.variant)


class _LaterResponse(Response):
    """A response that is known only when it is sent, after the handler has returned.

    Meanwhile the request holds no thread, and no place in the bulkhead. Starlette answers errors
    that are raised before the response begins like those of the handler.
    """

    def __init__(self, find: Callable[[], Awaitable[Response]]) -> None:
        super().__init__()
        self._find = find

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await (await self._find())(scope, receive, send)


class VariantDelivery:
    """Answers requests for variants; shared by all requests of the process."""

    def __init__(self, settings: Settings, bulkhead: Bulkhead) -> None:
        self._settings = settings
        self._bulkhead = bulkhead
        self._queue = VariantQueue()

    def respond(self, asked: VariantRequest, store: VariantSource) -> Response:
        """Answer with a variant; a missing one is made while the response is sent.

        Raises what the use cases and `download_response` raise, or VariantNotFoundError.
        """
        with vary_on_accept(asked.variant) as headers:
            choice = choose_variant(asked.variant, asked.download.headers, self._settings)
            found = store.find(asked.name, choice)
            while isinstance(found, Variant):
                if response := self._response(asked, store, found):
                    response.headers.update(headers)
                    return response
                # The object was lost, and the row is deleted.
                found = store.find(asked.name, choice)
        if moved := plan_move(asked.download, asked.address_of(found.image)):
            return Response(status_code=moved.status, headers=moved.headers | headers)
        return _LaterResponse(partial(self._make, asked, store, found))

    async def _make(
        self, asked: VariantRequest, store: VariantSource, missing: MissingVariant
    ) -> Response:
        with vary_on_accept(asked.variant) as headers:
            made = await self._queue.run(asked.client, missing, partial(store.make, missing))
            async with self._bulkhead.place():
                answer = await run_in_threadpool(self._response, asked, store, made)
            response = cast("Response", answer)  # a made variant has its content, and is not lost
            response.headers.update(headers)
            return response

    def _response(
        self, asked: VariantRequest, store: VariantSource, variant: Variant
    ) -> Response | None:
        """Answer with a variant; None if its object is lost."""
        download = asked.download
        if not variant.is_stored:
            download = replace(download, redirect=False)
        address = asked.address_of(variant.original)
        plan = plan_download(download, variant.image, address, self._settings)
        return download_response(download, plan, store, variant, self._bulkhead)
