"""The dependencies and parameters of the handlers."""

from collections.abc import AsyncIterator
from typing import Annotated, Literal

from fastapi import Depends, Path, Query, Request
from sqlalchemy.orm import Session

from resources import Resources
from web.bulkhead import Bulkhead
from web.form_parser import UploadForm
from web.middleware.api_keys import caller
from web.multipart import receive_form


def resources_of(request: Request) -> Resources:
    """Return the resources of the application."""
    resources: Resources = request.state.resources
    return resources


def bulkhead_of(request: Request) -> Bulkhead:
    """Return the bulkhead of requests that need S3."""
    bulkhead: Bulkhead = request.state.bulkhead
    return bulkhead


def client_of(request: Request) -> str:
    """Return who sent a request, as far as it is known: its API key and address."""
    return f"{caller.get()} {request.client.host if request.client else ''}"


async def get_session(request: Request) -> Session:
    """Return a database session for this request.

    The session connects when a use case begins a transaction, and the use case ends it, so nothing
    is left to close: a connection held until the response is sent would let slow clients starve
    the pool. `async`, because FastAPI runs a plain function or generator in a thread.
    """
    return resources_of(request).sessions()


async def get_upload_form(request: Request) -> AsyncIterator[UploadForm]:
    """Yield the received form of an upload, holding a place; close its file afterwards."""
    state = request.state
    async with (
        receive_form(request, resources_of(request).settings, state.spool_space) as form,
        state.uploads.place(),
        bulkhead_of(request).place(),
    ):
        yield form


SessionDep = Annotated[Session, Depends(get_session)]
FormDep = Annotated[UploadForm, Depends(get_upload_form, scope="function")]
ImageName = Annotated[str, Path(description="The image's name, percent-encoded UTF-8.")]
Disposition = Annotated[
    Literal["attachment", "inline"], Query(description="Save the image, or show it.")
]
Redirect = Annotated[
    bool | None, Query(description="Answer with a redirect to S3, or do not; default: a setting.")
]
