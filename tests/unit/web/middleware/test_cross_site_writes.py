"""Writes by pages of other sites are refused, as their browser identifies them."""

import pytest
from starlette.types import Scope

from tests.support.records import SETTINGS
from web.middleware.cross_site_writes import refuse_cross_site_writes

OWN, FOREIGN = "https://images.example", "https://elsewhere.example"


def request(method: str = "POST", **headers: str) -> Scope:
    """Return a request to images.example with these headers."""
    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    host = (b"host", b"images.example")
    return {"type": "http", "scheme": "http", "method": method, "headers": [host, *raw]}


@pytest.mark.parametrize(
    ("headers", "refused"),
    [
        ({}, False),
        ({"origin": OWN}, False),
        ({"origin": "HTTPS://images.example:443"}, False),
        ({"origin": FOREIGN}, True),
        ({"origin": "null"}, True),
        ({"origin": "https://images.example:8443"}, True),
        ({"sec_fetch_site": "same-origin"}, False),
        ({"sec_fetch_site": "none"}, False),
        ({"sec_fetch_site": "same-site"}, True),
        ({"sec_fetch_site": "cross-site", "origin": OWN}, True),
    ],
)
def test_writes(headers: dict[str, str], *, refused: bool) -> None:
    """Sec-Fetch-Site decides, and without it Origin; programs send neither."""
    assert bool(refuse_cross_site_writes(request(**headers), SETTINGS)) is refused


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_reads(method: str) -> None:
    """A page of another site may read."""
    assert refuse_cross_site_writes(request(method, origin=FOREIGN), SETTINGS) is None


@pytest.mark.parametrize("origins", [("*",), (FOREIGN,)])
def test_allowed(origins: tuple[str, ...]) -> None:
    """A page of an allowed origin may write."""
    settings = SETTINGS.model_copy(update={"cors_allow_origins": origins})
    foreign = request(origin=FOREIGN, sec_fetch_site="cross-site")
    assert refuse_cross_site_writes(foreign, settings) is None
