"""Answers requests for variants: with the stored variant, or with one that is made first."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Protocol

from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from config import Settings
from services.variant_store import MissingVariant, Variant, VariantChoice
from web.bulkhead import Bulkhead
from web.image_response import DownloadRequest, ObjectStore, download_response, plan_download
from web.variant_queue import VariantQueue


class VariantSource(ObjectStore[Variant], Protocol):
    """The use cases of variants."""

    def find(self, name: str, choice: VariantChoice, /) -> Variant | MissingVariant:
        """Return the variant of the image `name` if it is stored, else what `make` needs."""

    def make(self, missing: MissingVariant, /) -> Variant:
        """Make a variant; return it with its content."""


class VariantDelivery:
    """Answers requests for variants; shared by all requests of the process."""

    def __init__(self, settings: Settings, bulkhead: Bulkhead) -> None:
        self._settings = settings
        self._bulkhead = bulkhead
        self._queue = VariantQueue()

    async def respond(
        self, asked: DownloadRequest, store: VariantSource, name: str, choice: VariantChoice
    ) -> Response:
        """Answer with a variant, which is made first if it is missing.

        The request holds a place in the bulkhead while it uses S3, but not while it waits for the
        variant to be made. Raises what the use cases and `download_response` raise.
        """
        answer = partial(self._answer, asked, store, partial(store.find, name, choice))
        response = await self._call(answer)
        while isinstance(response, MissingVariant):
            made = await self._queue.run(response.key, partial(store.make, response))
            response = await self._call(partial(answer, made))
        return response

    async def _call(
        self, answer: Callable[[], Response | MissingVariant]
    ) -> Response | MissingVariant:
        async with self._bulkhead.place():
            return await run_in_threadpool(answer)

    def _answer(
        self,
        asked: DownloadRequest,
        store: VariantSource,
        find: Callable[[], Variant | MissingVariant],
        made: Variant | None = None,
    ) -> Response | MissingVariant:
        found = made or find()
        while isinstance(found, Variant):
            if not found.is_stored:
                asked = replace(asked, redirect=False)
            plan = plan_download(asked, found.image, self._settings)
            if response := download_response(asked, plan, store, found, self._bulkhead):
                return response
            found = find()  # the object was lost, and the row is deleted
        return found
