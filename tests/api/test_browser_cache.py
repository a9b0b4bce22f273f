"""A browser keeps what it has seen at an address with a version, and shows an overwrite at once."""

from collections import Counter
from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import Page

from devstack.service_process import ServiceProcess
from tests.support.chromium import chromium
from tests.support.keys import api_key, bearer
from tests.support.metrics import scrape
from tests.support.other_site import other_site
from tests.support.pictures import png
from tests.support.uploads import on_sqlite, upload

KEYS = (
    api_key("backend:write", "token-of-the-backend"),
    api_key("shop:read:shop-", "token-of-the-shop"),
)
FETCH = """async ([url, headers]) => {
    const answer = await fetch(url, {headers});
    return [answer.status, (await answer.text()).includes("backend")];
}"""

pytestmark = on_sqlite


def page_with(service: ServiceProcess, *addresses: str) -> str:
    """Return a page that shows the pictures at these addresses of the service."""
    sources = (f'<img src="{service.base_url}{address}">' for address in addresses)
    return f"<!doctype html><title>Site</title>{''.join(sources)}"


def widths(page: Page) -> list[int]:
    """Return the width of each picture that the page shows, 0 if it is broken."""
    shown: list[int] = page.eval_on_selector_all("img", "all => all.map(one => one.naturalWidth)")
    return shown


def asked(service: ServiceProcess) -> dict[str, int]:
    """Return how many requests for pictures the service has answered, by their status."""
    answered: Counter[str] = Counter()
    for labels, number in scrape(service.base_url).series("image_api_requests_total"):
        if labels["route"].startswith("/images/{name}"):
            answered[labels["status"]] += int(number)
    return answered


@pytest.fixture
def client(service: ServiceProcess) -> Iterator[httpx.Client]:
    """Return a client of the service."""
    with httpx.Client(base_url=service.base_url) as client:
        yield client


def test_reload(service: ServiceProcess, client: httpx.Client) -> None:
    """After a reload only pictures without a version are requested again."""
    document = upload(client, png(30, 20)).json()
    pages = {"/": page_with(service, document["url"], document["variants"]["160"], "/images/a")}
    with other_site(pages) as url, chromium() as browser:
        page = browser.new_page()
        page.goto(url)
        assert widths(page) == [30, 30, 30]
        assert asked(service) == {"200": 3}
        page.reload()
        assert widths(page) == [30, 30, 30]
        assert asked(service) == {"200": 3, "304": 1}


def test_overwrite(service: ServiceProcess, client: httpx.Client) -> None:
    """The new addresses show the new picture at once, and the old ones lead to it."""
    old = upload(client, png(30, 20)).json()
    pages = {"/": page_with(service, old["url"], old["variants"]["160"])}
    with other_site(pages) as url, chromium() as browser:
        page = browser.new_page()
        page.goto(url)
        assert widths(page) == [30, 30]
        new = upload(client, png(50, 40)).json()
        pages["/"] = page_with(service, new["url"], new["variants"]["160"])
        page.reload()
        assert widths(page) == [50, 50]
        pages["/"] = page_with(service, old["url"], old["variants"]["160"])
        stranger = browser.new_context().new_page()
        stranger.goto(url)
        assert widths(stranger) == [50, 50]


@pytest.mark.parametrize("public", ["true", "images", "false"])
def test_keys(service_environment: dict[str, str], public: str) -> None:
    """A browser whose cache may reuse responses does not show those of one key to another."""
    keys = ",".join(f"{key.name}:{key.scope}:{key.sha256}:{key.prefix}".strip(":") for key in KEYS)
    settings = {"API_KEYS": keys, "PUBLIC_READS": public, "CACHE_CONTROL": "max-age=600"}
    with (
        ServiceProcess(service_environment | settings) as service,
        httpx.Client(base_url=service.base_url) as client,
        chromium() as browser,
    ):
        client.headers.update(bearer("token-of-the-backend"))
        document = upload(client, png()).json()
        page = browser.new_page()
        page.goto(f"{service.base_url}/docs")

        def seen(path: str, token: str | None) -> list[object]:
            found: list[object] = page.evaluate(FETCH, [service.base_url + path, bearer(token)])
            return found

        for path in ("/images", "/images/a/metadata"):
            needs_key = public == "false" or (public == "images" and path == "/images")
            assert seen(path, "token-of-the-backend") == [200, True]
            assert seen(path, None) == [401 if needs_key else 200, False]
            assert seen(path, "token-of-the-backend") == [200, True]
            assert seen(path, "token-of-the-shop")[1] is False
        for path in ("/images/a", document["url"], document["variants"]["160"]):
            assert seen(path, "token-of-the-backend")[0] == 200
            assert seen(path, None)[0] == (401 if public == "false" else 200)
