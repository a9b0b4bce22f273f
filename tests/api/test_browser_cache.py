"""A browser keeps what it has seen at an address with a version, and shows an overwrite at once."""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest
from playwright.sync_api import Page

from devstack.service_process import ServiceProcess
from tests.support.chromium import chromium
from tests.support.metrics import scrape
from tests.support.pictures import png
from tests.support.uploads import on_sqlite, upload

pytestmark = on_sqlite


class Site:
    """A web site of one page with pictures of the service; it has another origin."""

    def __init__(self, service: ServiceProcess) -> None:
        self._service = service
        self.addresses: list[str] = []

    def html(self) -> str:
        """Return the page."""
        sources = (f'<img src="{self._service.base_url}{path}">' for path in self.addresses)
        return f"<!doctype html><title>Site</title>{''.join(sources)}"

    @contextmanager
    def serving(self) -> Iterator[str]:
        """Serve the page, and yield its URL."""
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = site.html().encode() if self.path == "/" else b""
                self.send_response(200 if body else 404)
                self.send_header("Content-Type", "text/html")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Log nothing."""

        with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            yield f"http://127.0.0.1:{server.server_address[1]}/"
            server.shutdown()


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
    site = Site(service)
    site.addresses = [document["url"], document["variants"]["160"], "/images/a"]
    with site.serving() as url, chromium() as browser:
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
    site = Site(service)
    site.addresses = [old["url"], old["variants"]["160"]]
    with site.serving() as url, chromium() as browser:
        page = browser.new_page()
        page.goto(url)
        assert widths(page) == [30, 30]
        new = upload(client, png(50, 40)).json()
        site.addresses = [new["url"], new["variants"]["160"]]
        page.reload()
        assert widths(page) == [50, 50]
        site.addresses = [old["url"], old["variants"]["160"]]
        stranger = browser.new_context().new_page()
        stranger.goto(url)
        assert widths(stranger) == [50, 50]
