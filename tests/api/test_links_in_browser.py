"""Pages of other sites show private pictures and upload by signed links, without any key."""

from collections import Counter
from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import Page

from devstack.service_process import ServiceProcess
from devstack.waiting import wait_until
from tests.support.chromium import chromium
from tests.support.keys import api_key, bearer
from tests.support.metrics import scrape
from tests.support.other_site import other_site
from tests.support.pictures import png
from tests.support.uploads import on_sqlite

pytestmark = on_sqlite
SECRET = "s" * 32
UPLOAD = """async (url) => {
    const canvas = new OffscreenCanvas(40, 30);
    canvas.getContext("2d").fillRect(0, 0, 20, 30);
    const answer = await fetch(url, {method: "PUT", body: await canvas.convertToBlob()});
    return [answer.status, (await answer.json()).width];
}"""


@pytest.fixture
def pages() -> dict[str, str]:
    """Return the pages of the other site, which a test fills."""
    return {"/": "<!doctype html><title>Site</title>"}


@pytest.fixture
def origin(pages: dict[str, str]) -> Iterator[str]:
    """Run the other site and return its origin."""
    with other_site(pages) as origin:
        yield origin


@pytest.fixture
def service(service_environment: dict[str, str], origin: str) -> Iterator[ServiceProcess]:
    """Run a service whose images are private, and whose links the other site may use."""
    environment = service_environment | {
        "API_KEYS": api_key("backend:write", "secret").line,
        "PUBLIC_READS": "false",
        "LINK_SECRETS": SECRET,
        "CORS_ALLOW_ORIGINS": origin,
    }
    with ServiceProcess(environment) as process:
        yield process


@pytest.fixture
def client(service: ServiceProcess) -> Iterator[httpx.Client]:
    """Return a client with the key of the service."""
    with httpx.Client(base_url=service.base_url, headers=bearer("secret")) as client:
        yield client


def page_with(service: ServiceProcess, addresses: dict[str, str]) -> str:
    """Return a page that shows one picture in the size that fits."""
    sources = [f"{service.base_url}{addresses[size]} {size}w" for size in ("160", "320")]
    image = f'<img src="{service.base_url}{addresses["640"]}" srcset="{", ".join(sources)}"'
    return f'<!doctype html><title>Site</title>{image} sizes="320px">'


def answered(client: httpx.Client) -> Counter[str]:
    """Return how many requests for variants the service has answered, by their status.

    Chromium does not tell pages, or tests, the status of an `<img>` that is not a picture.
    """
    counted = scrape(client).series("image_api_requests_total")
    return Counter(
        {
            labels["status"]: int(number)
            for labels, number in counted
            if labels["route"].endswith("/variants/{variant}")
        }
    )


def width(page: Page) -> int:
    """Return the width of the picture that the page shows, 0 if it is broken."""
    shown: int = page.eval_on_selector("img", "one => one.naturalWidth")
    return shown


def test_pictures(
    service: ServiceProcess, client: httpx.Client, origin: str, pages: dict[str, str]
) -> None:
    """A signed srcset shows what the same page without it does not, until the link expires."""
    document = client.put("/images/a", content=png(400, 300)).raise_for_status().json()
    wanted = {"allows": "variants", "expires_in": 3600}
    made = client.post("/images/a/links", json=wanted).json()["variants"]
    pages["/plain"] = page_with(service, document["variants"])
    pages["/signed"] = page_with(service, made)
    with chromium() as browser:
        page = browser.new_page()
        page.goto(f"{origin}/plain")
        assert (width(page), answered(client)) == (0, {"401": 1})
        page.goto(f"{origin}/signed")
        assert (width(page), answered(client)) == (320, {"401": 1, "200": 1})
        page.reload()  # the browser has kept the picture
        assert (width(page), answered(client)) == (320, {"401": 1, "200": 1})
        short = client.post("/images/a/links", json=wanted | {"expires_in": 1}).json()
        pages["/short"] = page_with(service, short["variants"])

        def expired() -> bool:
            context = browser.new_context()
            stranger = context.new_page()
            stranger.goto(f"{origin}/short")
            shown = width(stranger)
            context.close()
            return shown == 0

        wait_until(expired, timeout=20, what="the link to expire")
        assert answered(client)["403"] == 1


def test_upload(
    service: ServiceProcess, client: httpx.Client, origin: str, pages: dict[str, str]
) -> None:
    """A page can upload only by a link, and reads the response."""
    wanted = {"allows": "upload", "expires_in": 60, "max_bytes": 100_000}
    url = service.base_url + client.post("/images/new/links", json=wanted).json()["url"]
    with chromium() as browser, other_site(pages) as other:
        page = browser.new_page()
        page.goto(origin)
        assert page.evaluate(UPLOAD, f"{service.base_url}/images/new") == [401, None]
        assert page.evaluate(UPLOAD, url.replace("max_bytes=1", "max_bytes=9")) == [403, None]
        assert client.get("/images/new").status_code == 404
        assert page.evaluate(UPLOAD, url) == [201, 40]
        assert client.get("/images/new/metadata").json()["width"] == 40
        # A page whose origin the service does not list never gets to send its request.
        client.delete("/images/new").raise_for_status()
        page.goto(other)
        assert (
            page.evaluate(f"url => ({UPLOAD})(url).catch(error => error.name)", url) == "TypeError"
        )
        assert client.get("/images/new").status_code == 404
