"""The variants API: smaller pictures of an image."""

from typing import Annotated

from fastapi import APIRouter, Path, Request
from fastapi.responses import Response

from routers.dependencies import (
    Disposition,
    ImageName,
    Redirect,
    SessionDep,
    client_of,
    resources_of,
)
from web import openapi as docs
from web.addresses import Addresses
from web.bulkhead import S3Route
from web.image_response import DownloadRequest
from web.variant_delivery import VariantDelivery, VariantRequest

router = APIRouter(prefix="/images", tags=["variants"], responses=docs.COMMON, route_class=S3Route)

VariantName = Annotated[str, Path(description="Such as `320`, `640x480.webp`, `320x320-crop.jpg`.")]


@router.head("/{name}/variants/{variant}", include_in_schema=False)
@router.get(
    "/{name}/variants/{variant}",
    operation_id="download_variant",
    response_class=Response,
    responses=docs.VARIANT,
    openapi_extra=docs.DOWNLOAD_EXTRA,
)
def download_variant(
    request: Request,
    name: ImageName,
    variant: VariantName,
    session: SessionDep,
    disposition: Disposition = "attachment",
    redirect: Redirect = None,
) -> Response:
    """Download a smaller picture of an image, which is made on its first request.

    Without a file extension it is WebP if Accept names that, otherwise it has the image's format.
    """
    resources = resources_of(request)
    download = DownloadRequest.of(request, disposition, redirect)
    addresses = Addresses.of(request, resources.settings)
    variant_request = VariantRequest(download, addresses, name, variant, client_of(request))
    delivery: VariantDelivery = request.state.variant_delivery
    return delivery.respond(variant_request, resources.variants(session))
