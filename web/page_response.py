"""The files of the page at `/`, with their Content-Security-Policy (CSP level 3)."""

from pathlib import Path
from urllib.parse import urlsplit

from starlette.exceptions import HTTPException
from starlette.responses import FileResponse

from config import Settings

_FOLDER = Path(__file__).with_name("page")
_FILES = frozenset({"index.html", "gallery.css", "gallery.js"})
# No inline code, no other hosts. Blobs are pictures fetched with an API key.
_POLICY = (
    "default-src 'self'; img-src 'self' blob: data:{stores}; object-src 'none'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'"
)


def page_response(file: str, settings: Settings) -> FileResponse:
    """Answer with a file of the page. Raises HTTPException (404) if unknown, or without GALLERY."""
    if file not in _FILES or not settings.gallery:
        raise HTTPException(404)
    headers = {
        "Cache-Control": "no-cache",
        "Content-Security-Policy": _POLICY.format(stores=_stores(settings)),
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
    }
    return FileResponse(_FOLDER / file, headers=headers)


def _stores(settings: Settings) -> str:
    """Return the origins of the store if downloads are redirected to it by default."""
    if settings.redirects != "default":
        return ""
    url = settings.s3_public_endpoint_url or settings.aws_endpoint_url_s3
    if url is None:
        return " https://*.amazonaws.com https://*.amazonaws.com.cn"
    scheme, host = urlsplit(url)[:2]
    return f" {scheme}://{host} {scheme}://*.{host}"
