"""The images API."""

from fastapi import APIRouter, BackgroundTasks, Request
from fastapi.responses import Response
from sqlalchemy.orm import Session

from routers.dependencies import (
    Disposition,
    FileDep,
    FormDep,
    ImageName,
    Redirect,
    SessionDep,
    bulkhead_of,
    resources_of,
)
from schemas import Deleted, ImageList, ImageMetadata
from services.names import normalise_prefix
from web import openapi as docs
from web.access import is_public, listed_prefix
from web.addresses import Addresses
from web.bulkhead import S3Route
from web.cache_control import read_cache_control, vary_by_key
from web.caller import caller
from web.conditional_requests import write_precondition
from web.image_response import DownloadRequest, download_response, plan_download
from web.metadata_response import image_json, json_response, list_json, metadata_response
from web.pagination import Cursor, Limit, OrderBy, Prefix, decode_cursor, encode_cursor, next_link
from web.uploads.received_file import Upload
from web.uploads.response import upload_response

router = APIRouter(prefix="/images", tags=["images"], responses=docs.COMMON)


@router.get(
    "/random/metadata",
    operation_id="describe_random_image",
    response_model=ImageMetadata,
    responses=docs.RANDOM,
)
def describe_random(request: Request, session: SessionDep) -> Response:
    """Describe a random image; every image has the same probability."""
    resources = resources_of(request)
    image = resources.store(session).describe_random()
    addresses = Addresses.of(request, resources.settings)
    document = image_json(image, addresses)
    return json_response(document, {"Cache-Control": "no-store"})


@router.get(
    "/{name}/metadata",
    operation_id="describe_image",
    response_model=ImageMetadata,
    responses=docs.DESCRIBE,
    openapi_extra=docs.CONDITIONAL,
)
def describe(request: Request, name: ImageName, session: SessionDep) -> Response:
    """Describe an image."""
    resources = resources_of(request)
    image = resources.store(session).describe(name)
    return metadata_response(request, image, resources.settings, resources.opened_at)


def download(
    request: Request,
    name: ImageName,
    session: SessionDep,
    disposition: Disposition = "attachment",
    redirect: Redirect = None,
) -> Response:
    """Download the bytes of an image."""
    resources = resources_of(request)
    store = resources.store(session)
    requested = DownloadRequest.of(request, disposition, redirect)
    addresses = Addresses.of(request, resources.settings)
    image = store.describe(name)
    while True:
        plan = plan_download(requested, image, addresses.image(image), resources.settings)
        if response := download_response(requested, plan, store, image, bulkhead_of(request)):
            return response
        image = store.describe_replacement(image)


router.add_api_route(
    "/{name}",
    download,
    route_class_override=S3Route,
    operation_id="download_image",
    response_class=Response,
    responses=docs.DOWNLOAD,
    openapi_extra=docs.DOWNLOAD_EXTRA,
)


@router.get("", operation_id="list_images", response_model=ImageList, responses=docs.LIST)
def list_images(
    request: Request,
    session: SessionDep,
    limit: Limit = 100,
    cursor: Cursor = None,
    prefix: Prefix = "",
    order: OrderBy = "name",
) -> Response:
    """List images page by page."""
    resources = resources_of(request)
    prefix = listed_prefix(normalise_prefix(prefix), resources.settings)
    after = decode_cursor(order, prefix, cursor) if cursor else None
    images = resources.store(session).list(order, prefix, after, limit + 1)
    page = images[:limit]
    following = encode_cursor(order, prefix, page[-1]) if len(images) > limit else None
    private = caller.get().key is not None or not is_public(resources.settings, by_name=False)
    headers = read_cache_control(resources.settings, private=private)
    document = list_json(page, Addresses.of(request, resources.settings), following)
    return json_response(
        document, headers | vary_by_key(resources.settings) | next_link(request, following)
    )


@router.post(
    "",
    operation_id="upload_image",
    status_code=201,
    response_model=ImageMetadata,
    responses=docs.UPLOAD,
    openapi_extra=docs.UPLOAD_FORM,
)
def upload(
    request: Request, form: FormDep, session: SessionDep, after: BackgroundTasks
) -> Response:
    """Store an image under its name, replacing any existing one."""
    return _store(request, form, session, after)


@router.put(
    "/{name}",  # noqa: FAST003 - a parameter of `FileDep`
    operation_id="put_image",
    status_code=201,
    response_model=ImageMetadata,
    responses=docs.PUT,
    openapi_extra=docs.PUT_FILE,
)
def put(request: Request, file: FileDep, session: SessionDep, after: BackgroundTasks) -> Response:
    """Store the body as the image of that name, replacing any existing one."""
    return _store(request, file, session, after)


def _store(request: Request, upload: Upload, session: Session, after: BackgroundTasks) -> Response:
    resources = resources_of(request)
    store = resources.store(session)
    file, name, extension, media_type = upload
    precondition, by = write_precondition(request.headers), caller.get().uploader
    stored = store.upload(file, name, extension, precondition, media_type=media_type, by=by)
    if stored.old_key:
        after.add_task(bulkhead_of(request).run, store.remove_unless_kept, stored.old_key)
    addresses = Addresses.of(request, resources.settings)
    return upload_response(stored.image, stored.outcome, addresses)


@router.delete(
    "/{name}",
    operation_id="delete_image",
    responses=docs.DELETE,
    openapi_extra=docs.CONDITIONAL_WRITE,
)
def delete(
    request: Request, name: ImageName, session: SessionDep, after: BackgroundTasks
) -> Deleted:
    """Delete an image."""
    store = resources_of(request).store(session)
    image = store.delete(name, write_precondition(request.headers))
    after.add_task(bulkhead_of(request).run, store.remove_unless_kept, image.s3_key)
    return Deleted(name=image.name, deleted=True)


# Routes are matched in order, at 6 us each, so the least used come last.
router.head("/random/metadata", include_in_schema=False)(describe_random)
router.head("/{name}/metadata", include_in_schema=False)(describe)
router.add_api_route(
    "/{name}", download, methods=["HEAD"], include_in_schema=False, route_class_override=S3Route
)
router.head("", include_in_schema=False)(list_images)
