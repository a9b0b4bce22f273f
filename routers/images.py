"""The images API: HTTP to use case and back."""

from typing import Annotated, Any, Literal
from urllib.parse import quote

from fastapi import APIRouter, BackgroundTasks, Query, Request
from fastapi.responses import JSONResponse, Response

from image_store import Outcome
from names import content_disposition
from queries import ImageRecord
from routers.dependencies import FormDep, ImageName, StoreDep
from routers.documentation import DOWNLOAD, NOT_FOUND, UNAVAILABLE, UPLOAD, UPLOAD_FORM
from routers.streaming import ObjectResponse
from schemas import Deleted, ImageMetadata

router = APIRouter(prefix="/images", tags=["images"], responses=UNAVAILABLE)

Disposition = Annotated[
    Literal["attachment", "inline"], Query(description="Save the image, or show it.")
]

# Bodies up to this size are read whole and answered at once, without a streaming task.
_WHOLE_BYTES = 1024 * 1024


@router.post(
    "",
    operation_id="upload_image",
    status_code=201,
    response_model=ImageMetadata,
    responses=UPLOAD,
    openapi_extra=UPLOAD_FORM,
)
def upload(request: Request, form: FormDep, store: StoreDep, after: BackgroundTasks) -> Response:
    """Store an image under its name, replacing the one that was there."""
    stored = store.upload(form.file, form.name, form.extension)
    if stored.old_key:
        after.add_task(store.remove_overwritten, stored.old_key)
    response = _metadata(stored.image)
    if stored.outcome is Outcome.CREATED:
        response.status_code = 201
        response.headers["Location"] = f"{request.url.path}/{quote(stored.image.name, safe='')}"
    return response


@router.head("/random/metadata", include_in_schema=False)
@router.get(
    "/random/metadata",
    operation_id="describe_random_image",
    response_model=ImageMetadata,
    responses=NOT_FOUND,
)
def describe_random(store: StoreDep) -> Response:
    """Describe an image picked at random, every image with the same probability."""
    return _metadata(store.describe_random())


@router.head("/{name}/metadata", include_in_schema=False)
@router.get(
    "/{name}/metadata",
    operation_id="describe_image",
    response_model=ImageMetadata,
    responses=NOT_FOUND,
)
def describe(name: ImageName, store: StoreDep) -> Response:
    """Describe an image."""
    return _metadata(store.describe(name))


@router.get("/{name}", operation_id="download_image", response_class=Response, responses=DOWNLOAD)
def download(
    request: Request, name: ImageName, store: StoreDep, disposition: Disposition = "attachment"
) -> Response:
    """Download the bytes of an image."""
    image, body = store.open(name)
    headers = _headers(image, disposition)
    if image.size_bytes <= _WHOLE_BYTES:
        return Response(body.read_all(image.size_bytes), headers=headers)
    idle_timeout = request.app.state.settings.download_idle_timeout
    return ObjectResponse(body, image.size_bytes, headers, idle_timeout)


@router.head("/{name}", include_in_schema=False)
def download_head(
    name: ImageName, store: StoreDep, disposition: Disposition = "attachment"
) -> Response:
    """What a download would say, from the database alone."""
    image = store.describe(name)
    length = {"Content-Length": str(image.size_bytes)}
    return Response(headers=_headers(image, disposition) | length)


@router.delete("/{name}", operation_id="delete_image", response_model=Deleted, responses=NOT_FOUND)
def delete(name: ImageName, store: StoreDep, after: BackgroundTasks) -> Response:
    """Delete an image."""
    image = store.delete(name)
    after.add_task(store.remove_object, image.s3_key)
    return JSONResponse({"name": image.name, "deleted": True})


def _metadata(image: ImageRecord) -> Response:
    document = ImageMetadata.of(image).model_dump_json()
    return Response(document, media_type="application/json")


def _headers(image: ImageRecord, disposition: str) -> dict[str, str]:
    return {
        "Content-Type": image.content_type,
        "Content-Disposition": content_disposition(disposition, image.name, image.extension),
        "X-Content-Type-Options": "nosniff",
    }
