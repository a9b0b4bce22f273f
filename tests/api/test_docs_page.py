"""`/docs` works in a real browser without internet access."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Locator, Page, Route, expect

from config import Settings
from devstack.service_process import ServiceProcess
from tests.support import pictures
from tests.support.chromium import chromium
from tests.support.uploads import count, on_sqlite

pytestmark = on_sqlite
NAME = "My sunset \u2764"
PATIENCE = 30_000.0  # ms


class Visit:
    """An open page, with the errors and the requests to other hosts that it caused."""

    def __init__(self, page: Page, service: ServiceProcess) -> None:
        self.page, self.service = page, service
        self.elsewhere: list[str] = []
        self.errors: list[str] = []
        page.set_default_timeout(PATIENCE)
        page.context.route("**/*", self._pass_own)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("requestfailed", lambda request: self.errors.append(request.url))

    def _pass_own(self, route: Route) -> None:
        if route.request.url.startswith((self.service.base_url, "data:", "blob:")):
            route.continue_()
        else:
            self.elsewhere.append(route.request.url)
            route.abort()

    def try_out(self, operation: str) -> Locator:
        """Open an operation's form and return its block."""
        block = self.page.locator(f"[id$='-{operation}']")
        block.locator(".opblock-summary-control").click()
        block.get_by_role("button", name="Try it out").click()
        return block

    def execute(self, block: Locator, status: int) -> Locator:
        """Submit the form; check the status that the page shows; return the shown response."""
        block.get_by_role("button", name="Execute").click()
        answer = block.locator(".live-responses-table")
        expect(answer.locator("tbody .response-col_status")).to_have_text(
            str(status), timeout=PATIENCE
        )
        return answer


@contextmanager
def visiting(service: ServiceProcess) -> Iterator[Visit]:
    """Open /docs of a running service in a browser that reaches no other host."""
    with chromium() as browser:
        visit = Visit(browser.new_page(), service)
        visit.page.goto(f"{service.base_url}/docs")
        yield visit


@pytest.fixture
def visit(service: ServiceProcess) -> Iterator[Visit]:
    """Open /docs of a service without keys."""
    with visiting(service) as visit:
        yield visit


def test_upload_and_back(visit: Visit, settings: Settings, tmp_path: Path) -> None:
    """The page's forms upload, save, show and delete a picture, without other hosts."""
    picture, fake = tmp_path / "dawn.jpg", tmp_path / "fake.jpg"
    picture.write_bytes(pictures.jpeg(320, 240))
    fake.write_bytes(b"no picture")
    form = visit.try_out("upload_image")
    form.locator("input[type=file]").set_input_files(fake)
    expect(visit.execute(form, 415)).to_contain_text("not_an_image")
    form.locator("input[type=file]").set_input_files(picture)
    form.get_by_placeholder("name").fill(NAME)
    expect(visit.execute(form, 201)).to_contain_text(NAME)
    assert httpx.get(f"{visit.service.base_url}/images/{NAME}").content == picture.read_bytes()

    form = visit.try_out("download_image")
    form.get_by_placeholder("name").fill(NAME)
    answer = visit.execute(form, 200)
    with visit.page.expect_download(timeout=PATIENCE) as saved:
        answer.get_by_role("link", name="Download file").click()
    assert saved.value.path().read_bytes() == picture.read_bytes()
    form.locator("tr[data-param-name=disposition] select").select_option("inline")
    shown = visit.execute(form, 200).locator("img")
    expect(shown).to_have_js_property("naturalWidth", 320, timeout=PATIENCE)

    form = visit.try_out("put_image")
    form.get_by_placeholder("name").fill(NAME)
    form.locator("input[type=file]").set_input_files(fake)
    expect(visit.execute(form, 415)).to_contain_text("not_an_image")
    picture.write_bytes(pictures.png(30, 20))
    form.locator("input[type=file]").set_input_files(picture)
    expect(visit.execute(form, 200)).to_contain_text('"width": 30')

    form = visit.try_out("delete_image")
    form.get_by_placeholder("name").fill(NAME)
    visit.execute(form, 200)
    assert count(settings, "images") == 0
    assert visit.elsewhere == []
    assert visit.errors == []


def test_authorize(service_environment: dict[str, str], tmp_path: Path) -> None:
    """The Authorize button accepts a key, and the page's requests send it."""
    picture = tmp_path / "dawn.jpg"
    picture.write_bytes(pictures.jpeg(320, 240))
    digest = hashlib.sha256(b"a-key").hexdigest()
    keys = {"API_KEYS": f"web:write:{digest}", "PUBLIC_READS": "false"}
    with ServiceProcess(service_environment | keys) as service, visiting(service) as visit:
        form = visit.try_out("upload_image")
        form.locator("input[type=file]").set_input_files(picture)
        expect(visit.execute(form, 401)).to_contain_text("key_required")
        listing = visit.try_out("list_images")
        visit.execute(listing, 401)

        form.get_by_placeholder("name").fill(NAME)
        visit.page.get_by_role("button", name="Authorize").first.click()
        dialogue = visit.page.locator(".dialog-ux")
        dialogue.locator("input").fill("a-key")
        dialogue.locator("button.authorize").click()
        dialogue.get_by_role("button", name="Close").last.click()

        expect(visit.execute(form, 201)).to_contain_text(NAME)
        expect(visit.execute(listing, 200)).to_contain_text(NAME)
        assert httpx.get(f"{service.base_url}/images/{NAME}").status_code == 401
        assert visit.elsewhere == []
