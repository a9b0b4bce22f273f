"""The page at `/`, where people look at the pictures: a client of the public API alone."""

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse

from routers.dependencies import resources_of
from web.page_response import page_response

router = APIRouter(include_in_schema=False)


@router.head("/")
@router.get("/")
def page(request: Request) -> FileResponse:
    """Answer the page."""
    return page_response("index.html", resources_of(request).settings)


@router.head("/page/{file}")
@router.get("/page/{file}")
def part(request: Request, file: str) -> FileResponse:
    """Answer a script or a style of the page."""
    return page_response(file, resources_of(request).settings)
