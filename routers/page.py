"""The page at `/`, where people look at the pictures: a client of the public API alone."""

from pathlib import Path
from urllib.parse import urlsplit

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import FileResponse

from config import Settings
from routers.dependencies import resources_of

_FOLDER = Path(__file__).resolve().parent.parent / "web" / "page"
_FILES = frozenset({"gallery.css", "gallery.js"})
# Without inline code and other hosts (CSP level 3). Blobs are pictures fetched with an API key.
_POLICY = (
    "default-src 'self'; img-src 'self' blob: data:{stores}; object-src 'none'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'"
)

router = APIRouter(include_in_schema=False)


@router.head("/")
@router.get("/")
def page(request: Request) -> FileResponse:
    """Answer the page; 404 if GALLERY is off."""
    return _answer(request, "index.html")


@router.head("/page/{file}")
@router.get("/page/{file}")
def part(request: Request, file: str) -> FileResponse:
    """Answer a script or style of the page."""
    if file not in _FILES:
        raise HTTPException(404)
    return _answer(request, file)


def _answer(request: Request, file: str) -> FileResponse:
    settings = resources_of(request).settings
    if not settings.gallery:
        raise HTTPException(404)
    headers = {
        "Cache-Control": "no-cache",
        "Content-Security-Policy": _POLICY.format(stores=_stores(settings)),
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
    }
    return FileResponse(_FOLDER / file, headers=headers)


def _stores(settings: Settings) -> str:
    """Return the origin of the store if pictures are redirected to it by default."""
    if settings.redirects != "default":
        return ""
    url = settings.s3_public_endpoint_url or settings.aws_endpoint_url_s3
    if url is None:
        return " https://*.amazonaws.com https://*.amazonaws.com.cn"
    scheme, host = urlsplit(url)[:2]
    return f" {scheme}://{host} {scheme}://*.{host}"
