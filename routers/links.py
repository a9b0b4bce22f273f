"""The links API: addresses that work without an API key."""

from fastapi import APIRouter, Request
from fastapi.responses import Response

from errors import LinksNotConfiguredError
from routers.dependencies import ImageName, LinkRequestDep, SessionDep, resources_of
from schemas import Links
from services.names import normalise_name
from web import openapi as docs
from web.addresses import Addresses
from web.link_response import links_response
from web.signed_links import make_link

router = APIRouter(prefix="/images", tags=["links"], responses=docs.COMMON)


@router.post(
    "/{name}/links",
    operation_id="create_links",
    response_model=Links,
    responses=docs.LINKS,
    openapi_extra=docs.LINK_REQUEST,
)
def create_links(
    request: Request, name: ImageName, link_request: LinkRequestDep, session: SessionDep
) -> Response:
    """Create addresses that work without an API key until they expire.

    The image may be uploaded later.
    """
    resources = resources_of(request)
    if not resources.settings.link_secrets:
        raise LinksNotConfiguredError
    link = make_link(normalise_name(name), link_request)
    image = None if link.allows == "upload" else resources.store(session).find(link.name)
    addresses = Addresses.of(request, resources.settings)
    return links_response(link, resources.settings.link_secrets[0], addresses, image)
