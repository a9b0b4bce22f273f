"""What handlers ask for. Dependencies are `async`, so that none of them costs a thread hop."""

from collections.abc import AsyncIterator
from functools import lru_cache
from typing import Annotated, Literal

from fastapi import Depends, Path, Query, Request
from sqlalchemy.orm import Session

from resources import Resources
from services.image_store import ImageStore
from services.variant_store import VariantStore
from web.bulkhead import Bulkhead
from web.form_parser import UploadForm
from web.metadata_response import VariantLinks
from web.middleware.api_keys import caller
from web.multipart import receive_form
from web.variant_delivery import VariantDelivery


def resources_of(request: Request) -> Resources:
    """Return what the application was started with."""
    resources: Resources = request.state.resources
    return resources


def get_session(request: Request) -> Session:
    """Return a database session of this request.

    It connects when a use case begins a transaction, and every use case ends its own, so there
    is nothing to give back when the request ends: a connection held until then would let slow
    clients starve the pool.
    """
    return resources_of(request).sessions()


async def get_store(request: Request) -> ImageStore:
    """Return the use cases, on this request's session.

    Calls `get_session` instead of depending on it: each further dependency costs a request as
    much as a tenth of an empty endpoint.
    """
    return resources_of(request).store(get_session(request))


def bulkhead_of(request: Request) -> Bulkhead:
    """Return what keeps requests that need S3 from taking all threads."""
    bulkhead: Bulkhead = request.state.bulkhead
    return bulkhead


def delivery_of(request: Request) -> VariantDelivery:
    """Return what answers requests for variants."""
    delivery: VariantDelivery = request.state.variant_delivery
    return delivery


def client_of(request: Request) -> str:
    """Return who sent a request, as far as it is known: its API key and address."""
    return f"{caller.get()} {request.client.host if request.client else ''}"


def links_of(request: Request) -> VariantLinks:
    """Return where the variants of images are, as this client sees it."""
    variants = resources_of(request).settings.variants
    return _links(request.scope.get("root_path", ""), variants)


_links = lru_cache(maxsize=16)(VariantLinks)


async def get_variants(request: Request) -> VariantStore:
    """Return the use cases of variants, on this request's session."""
    return resources_of(request).variants(get_session(request))


async def get_upload_form(request: Request) -> AsyncIterator[UploadForm]:
    """Yield the received form of an upload, holding a place; its file is closed afterwards."""
    settings, uploads = resources_of(request).settings, request.state.uploads
    async with (
        receive_form(request, settings) as form,
        uploads.place(),
        bulkhead_of(request).place(),
    ):
        yield form


Disposition = Annotated[
    Literal["attachment", "inline"], Query(description="Save the image, or show it.")
]
Redirect = Annotated[
    bool | None, Query(description="Answer with a redirect to S3, or do not; default: a setting.")
]
VariantsDep = Annotated[VariantStore, Depends(get_variants)]
StoreDep = Annotated[ImageStore, Depends(get_store)]
ImageName = Annotated[str, Path(description="The image's name, percent-encoded UTF-8.")]
FormDep = Annotated[UploadForm, Depends(get_upload_form, scope="function")]
