"""The dependencies and parameters of the handlers."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Literal

from fastapi import Depends, Path, Query, Request
from sqlalchemy.orm import Session

from errors import InvalidParameterError
from resources import Resources
from schemas import LinkRequest
from services.names import normalise_name
from web.access import admit_upload
from web.bulkhead import Bulkhead
from web.caller import caller
from web.small_body import receive_small_body
from web.uploads.form import receive_form
from web.uploads.raw_body import receive_file
from web.uploads.received_file import Upload

ImageName = Annotated[str, Path(description="Name of the image, percent-encoded UTF-8.")]


def resources_of(request: Request) -> Resources:
    """Return the resources of the application."""
    resources: Resources = request.state.resources
    return resources


def bulkhead_of(request: Request) -> Bulkhead:
    """Return the bulkhead of requests that need S3."""
    bulkhead: Bulkhead = request.state.bulkhead
    return bulkhead


def client_of(request: Request) -> str:
    """Return what identifies the sender of a request: its API key and its address."""
    return f"{caller.get().name} {request.client.host if request.client else ''}"


async def get_session(request: Request) -> Session:
    """Return a database session for this request.

    It connects when a use case begins a transaction. The use case also ends the transaction: a
    connection held until the response is sent would let slow clients exhaust the pool. `async`,
    because FastAPI would run a plain function in a thread.
    """
    return resources_of(request).sessions()


async def get_form(request: Request) -> AsyncIterator[Upload]:
    """Yield the form of an upload while holding a place, and close its file afterwards."""
    settings, space = resources_of(request).settings, request.state.spool_space
    async with receive_form(request, settings, space) as upload:
        admit_upload(upload.name)
        async with _upload_place(request):
            yield upload


async def get_file(request: Request, name: ImageName) -> AsyncIterator[Upload]:
    """Yield the body of an upload as `get_form` does, after checking the name."""
    name, space = normalise_name(name), request.state.spool_space
    settings, link = resources_of(request).settings, caller.get().link
    if link:
        settings = link.upload_settings(settings)
    async with receive_file(request, name, settings, space) as upload, _upload_place(request):
        yield upload


@asynccontextmanager
async def _upload_place(request: Request) -> AsyncIterator[None]:
    async with request.state.uploads.place(), bulkhead_of(request).place():
        yield


async def get_link_request(request: Request) -> LinkRequest:
    """Return the body of a request for links. Raises InvalidParameterError."""
    body = await receive_small_body(request, resources_of(request).settings)
    try:
        return LinkRequest.from_json(body)
    except ValueError as exc:
        raise InvalidParameterError(str(exc)) from None


SessionDep = Annotated[Session, Depends(get_session)]
FormDep = Annotated[Upload, Depends(get_form, scope="function")]
FileDep = Annotated[Upload, Depends(get_file, scope="function")]
LinkRequestDep = Annotated[LinkRequest, Depends(get_link_request)]
Disposition = Annotated[
    Literal["attachment", "inline"], Query(description="Whether browsers save or show the image.")
]
Redirect = Annotated[
    bool | None, Query(description="Whether to redirect to S3; `REDIRECTS` sets the default.")
]
