"""The page at `/` for looking at the images. It uses only the public API."""

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse

from routers.dependencies import resources_of
from web.page_response import page_response

router = APIRouter(include_in_schema=False)


@router.head("/")
@router.get("/")
def page(request: Request) -> FileResponse:
    """Answer with the page."""
    return page_response("index.html", resources_of(request).settings)


@router.head("/page/{file}")
@router.get("/page/{file}")
def part(request: Request, file: str) -> FileResponse:
    """Answer with a script or a style sheet of the page."""
    return page_response(file, resources_of(request).settings)
