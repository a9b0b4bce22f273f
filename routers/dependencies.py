"""What handlers ask for. Dependencies are `async`, so that none of them costs a thread hop."""

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import Depends, Path, Request
from sqlalchemy.orm import Session

from services.image_store import ImageStore
from web.multipart import UploadForm, receive_form


def get_session(request: Request) -> Session:
    """A database session of this request.

    It connects when a use case begins a transaction, and every use case ends its own, so there
    is nothing to give back when the request ends: a connection held until then would let slow
    clients starve the pool.
    """
    session: Session = request.app.state.sessions()
    return session


async def get_store(request: Request) -> ImageStore:
    """The use cases, on this request's session.

    Calls `get_session` instead of depending on it: each further dependency costs a request as
    much as a tenth of an empty endpoint.
    """
    state = request.app.state
    return ImageStore(get_session(request), state.bucket, state.inspector, state.settings)


async def get_upload_form(request: Request) -> AsyncIterator[UploadForm]:
    """The received form of an upload."""
    async with receive_form(request, request.app.state.settings) as form:
        yield form


StoreDep = Annotated[ImageStore, Depends(get_store)]
ImageName = Annotated[str, Path(description="The image's name, percent-encoded UTF-8.")]
FormDep = Annotated[UploadForm, Depends(get_upload_form, scope="function")]
