"""Answers requests for variants with a stored variant, or makes it first.

web/image_response.py determines headers, statuses and ranges, as for every download.
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
from web.variant_choice import choose_variant, depends_on_accept, vary_on_accept
from web.variant_queue import VariantQueue


class VariantSource(ObjectStore[Variant], Protocol):
    """The use cases of variants."""

    def find(self, name: str, choice: VariantChoice, /) -> Variant | MissingVariant:
        """Return the variant of the image `name` if it is stored, otherwise what `make` needs."""

    def make(self, missing: MissingVariant, /) -> Variant:
        """Make a variant, and return it with its content."""


@dataclass(frozen=True, slots=True)
class VariantRequest:
    """A request by `client` for a variant, such as `320.webp`, of the image `name`."""

    download: DownloadRequest
    addresses: Addresses
    name: str
    variant: str
    client: str

    def address_of(self, original: ImageRecord) -> Address:
        """Return the address of this variant of an image."""
        return self.addresses.variant(original, self.variant)


class _LaterResponse(Response):
    """A response that is made only after the handler has returned.

    Meanwhile the request holds no thread, and no place in the bulkhead. Starlette handles errors
    that are raised before the response begins like those of a handler.
    """

    def __init__(self, make: Callable[[], Awaitable[Response]]) -> None:
        super().__init__()
        self._make = make

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await (await self._make())(scope, receive, send)


class VariantDelivery:
    """Answers all requests for variants in this process."""

    def __init__(self, settings: Settings, bulkhead: Bulkhead) -> None:
        self._settings = settings
        self._bulkhead = bulkhead
        self._queue = VariantQueue()

    def respond(self, request: VariantRequest, store: VariantSource) -> Response:
        """Answer with a variant; a missing one is made after the handler has returned.

        Raises VariantNotFoundError, and what the use cases and `download_response` raise.
        """
        with vary_on_accept(request.variant) as headers:
            choice = choose_variant(request.variant, request.download.headers, self._settings)
            found = store.find(request.name, choice)
            while isinstance(found, Variant):
                if response := self._response(request, store, found):
                    return response
                # The object was lost, and the row is deleted.
                found = store.find(request.name, choice)
        if moved := plan_move(request.download, request.address_of(found.image)):
            return Response(status_code=moved.status, headers=moved.headers | headers)
        return _LaterResponse(partial(self._make, request, store, found))

    async def _make(
        self, request: VariantRequest, store: VariantSource, missing: MissingVariant
    ) -> Response:
        with vary_on_accept(request.variant):
            made = await self._queue.run(request.client, missing, partial(store.make, missing))
            async with self._bulkhead.place():
                answer = await run_in_threadpool(self._response, request, store, made)
            return cast("Response", answer)  # a new variant has its content, so it is not lost

    def _response(
        self, request: VariantRequest, store: VariantSource, variant: Variant
    ) -> Response | None:
        """Answer with a variant; None if its object is lost."""
        download = request.download
        if not variant.is_stored:
            download = replace(download, redirect=False)
        address = request.address_of(variant.original)
        plan = plan_download(download, variant.image, address, self._settings)
        response = download_response(download, plan, store, variant, self._bulkhead)
        if response and depends_on_accept(request.variant):
            response.headers.add_vary_header("Accept")
        return response
