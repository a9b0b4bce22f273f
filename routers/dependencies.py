"""What handlers ask for. All `async`, so that none of them costs a thread hop."""

from collections.abc import AsyncIterator
from typing import Annotated
from urllib.parse import unquote_to_bytes

from fastapi import Depends, Path, Request
from sqlalchemy.orm import Session

from errors import InvalidName
from image_store import ImageStore
from routers.forms import UploadForm, receive_form


async def get_session(request: Request) -> Session:
    """A database session of this request.

    It connects when a use case begins a transaction, and every use case ends its own, so there
    is nothing to give back when the request ends: a connection held until then would let slow
    clients starve the pool.
    """
    session: Session = request.app.state.sessions()
    return session


async def get_store(
    request: Request, session: Annotated[Session, Depends(get_session)]
) -> ImageStore:
    """The use cases, on this request's session."""
    state = request.app.state
    return ImageStore(session, state.bucket, state.inspector, state.settings)


async def get_image_name(
    request: Request,
    name: Annotated[str, Path(description="The image's name, percent-encoded UTF-8.")],
) -> str:
    """The name in the path, exactly as the client meant it.

    The server decodes the path for routing, which would turn `%2F` into a path separator and
    wrong UTF-8 into replacement characters; such names are refused. Raises InvalidName.
    """
    raw_path: bytes = request.scope.get("raw_path") or b""
    if b"%2f" in raw_path.lower():
        raise InvalidName("The image name contains a slash.")
    try:
        unquote_to_bytes(raw_path).decode()
    except UnicodeDecodeError:
        raise InvalidName("The image name is not valid UTF-8.") from None
    return name


async def get_upload_form(request: Request) -> AsyncIterator[UploadForm]:
    """The received form of an upload."""
    async with receive_form(request, request.app.state.settings) as form:
        yield form


StoreDep = Annotated[ImageStore, Depends(get_store)]
ImageName = Annotated[str, Depends(get_image_name)]
FormDep = Annotated[UploadForm, Depends(get_upload_form, scope="function")]
