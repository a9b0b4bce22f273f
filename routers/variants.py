"""The variants API: the same picture, smaller."""

from typing import Annotated

from fastapi import APIRouter, Path, Request
from fastapi.responses import Response

from routers.dependencies import (
    Disposition,
    ImageName,
    Redirect,
    VariantsDep,
    bulkhead_of,
    resources_of,
)
from web import openapi as docs
from web.image_response import DownloadRequest, download_response, plan_download
from web.renderings import VariantRoute
from web.variant_choice import choose_variant

router = APIRouter(prefix="/images", tags=["variants"], responses=docs.COMMON)

VariantName = Annotated[str, Path(description="Such as `320`, `640x480.webp`, `320x320-crop.jpg`.")]


def download_variant(
    request: Request,
    name: ImageName,
    variant: VariantName,
    store: VariantsDep,
    disposition: Disposition = "attachment",
    redirect: Redirect = None,
) -> Response:
    """Download a smaller picture of an image; it is made when it is asked for the first time.

    Without an ending it is WebP where Accept names that, else of the image's own kind.
    """
    settings = resources_of(request).settings
    choice = choose_variant(variant, request.headers, settings)
    while True:
        found = request.state.made or store.find(name, choice)
        may_redirect = redirect if found.image.s3_key else False
        asked = DownloadRequest(request.method, request.headers, disposition, may_redirect)
        plan = plan_download(asked, found.image, settings)
        if response := download_response(asked, plan, store, found, bulkhead_of(request)):
            return response


for method, shown in (("GET", True), ("HEAD", False)):
    router.add_api_route(
        "/{name}/variants/{variant}",
        download_variant,
        route_class_override=VariantRoute,
        methods=[method],
        include_in_schema=shown,
        operation_id="download_variant",
        response_class=Response,
        responses=docs.VARIANT,
        openapi_extra=docs.CONDITIONAL_RANGE,
    )
