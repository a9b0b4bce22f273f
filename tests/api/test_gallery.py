"""The page at `/` in a real browser: look, upload, replace, delete, with and without keys."""

import base64
import hashlib
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import Browser, FilePayload, Locator, Page, Route, expect

from config import Settings
from devstack.service_process import ROOT, ServiceProcess
from tests.support.chromium import chromium
from tests.support.pictures import jpeg, png
from tests.support.uploads import on_sqlite, problem, serving, upload

pytestmark = on_sqlite
EVIL = "<img src=x onerror=alert(1)>"
PATIENCE = 20_000.0  # ms
IS_SHOWN = "picture => picture.complete && picture.naturalWidth > 0"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Run one browser for the tests of this file."""
    with chromium() as browser:
        yield browser


def payload(name: str, content: bytes) -> FilePayload:
    """Return a file to choose."""
    return {"name": name, "mimeType": "", "buffer": content}


class Visit:
    """The open page, and the errors and requests to other hosts that it caused."""

    def __init__(self, page: Page, service: ServiceProcess, prefix: str = "") -> None:
        self.page, self.service, self._prefix = page, service, prefix
        self.elsewhere: list[str] = []
        self.errors: list[str] = []
        page.set_default_timeout(PATIENCE)
        page.route("**/*", self._pass_own)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", self._note)
        page.goto(f"{service.base_url}{prefix}/")

    def _pass_own(self, route: Route) -> None:
        if not route.request.url.startswith((self.service.base_url, "data:", "blob:")):
            self.elsewhere.append(route.request.url)
        # As a proxy does that serves below a prefix.
        base = self.service.base_url
        route.continue_(url=route.request.url.replace(f"{base}{self._prefix}/", f"{base}/", 1))

    def _note(self, message: object) -> None:
        text = str(getattr(message, "text", ""))
        if "Content Security Policy" in text:
            self.errors.append(text)

    def tile(self, name: str) -> Locator:
        """Return the button of a picture, once its thumbnail is shown."""
        tile = self.page.locator("#grid li", has_text=name).get_by_role("button")
        expect(tile).to_be_visible(timeout=PATIENCE)
        self.await_shown(tile.locator("img"))
        return tile

    def await_shown(self, picture: Locator) -> None:
        """Wait until the browser has decoded a picture."""
        self.page.wait_for_function(IS_SHOWN, arg=picture.element_handle())

    def choose(self, *files: tuple[str, bytes]) -> None:
        """Choose files to upload."""
        self.page.set_input_files("#files", [payload(*file) for file in files])

    def hand_over(self, event: str, name: str, content: bytes) -> None:
        """Drop or paste a file, with the event that a browser sends then."""
        self.page.evaluate(
            """([kind, name, content]) => {
                const data = new DataTransfer();
                const bytes = Uint8Array.from(atob(content), (one) => one.charCodeAt(0));
                data.items.add(new File([bytes], name));
                const options = { bubbles: true, cancelable: true };
                document.body.dispatchEvent(kind === "paste"
                    ? new ClipboardEvent(kind, { ...options, clipboardData: data })
                    : new DragEvent(kind, { ...options, dataTransfer: data }));
            }""",
            [event, name, base64.b64encode(content).decode()],
        )

    def sign_in(self, key: str) -> None:
        """Answer the question for a key."""
        self.page.locator("#key").fill(key)
        self.page.get_by_role("button", name="Use the key").click()


@contextmanager
def visiting(browser: Browser, service: ServiceProcess, prefix: str = "") -> Iterator[Visit]:
    """Open the page in a new session; afterwards there must be no error and no other host."""
    context = browser.new_context()
    visit = Visit(context.new_page(), service, prefix)
    yield visit
    assert visit.elsewhere == []
    assert visit.errors == []
    context.close()


@pytest.fixture
def visit(browser: Browser, service: ServiceProcess) -> Iterator[Visit]:
    """Open the page of a service without keys."""
    with visiting(browser, service) as visit:
        yield visit


def photograph(page: Page, name: str) -> None:
    """Write a picture of the page into the folder that SCREENSHOTS names."""
    if folder := os.environ.get("SCREENSHOTS"):
        page.screenshot(path=Path(folder) / name)


def test_from_upload_to_deletion(visit: Visit) -> None:
    """Files that are chosen, dropped and pasted are shown, replaced and deleted."""
    page = visit.page
    expect(page.locator("#status")).to_have_text("There are no pictures here yet.")
    visit.choose(("one.png", png(40, 30)), ("two.jpg", jpeg(64, 48)))
    visit.hand_over("drop", "three.png", png(50, 20))
    visit.hand_over("paste", "four.png", png(20, 50))
    for name in ("one", "two", "three", "four"):
        visit.tile(name)
    visit.tile("one").click()
    detail = page.get_by_role("dialog", name="one")
    expect(detail.locator("dd", has_text="image/png")).to_be_visible()
    visit.await_shown(detail.locator("#detail-picture"))
    assert "/images/one?v=" in detail.locator("code").first.inner_text()

    page.set_input_files("#replacement", payload("new.jpg", jpeg(80, 60)))
    expect(detail.locator("dd", has_text="image/jpeg")).to_be_visible()
    with page.expect_download() as saved:
        detail.get_by_role("link", name="Download").click()
    assert saved.value.path().read_bytes() == jpeg(80, 60)
    assert saved.value.suggested_filename == "one.jpg"

    detail.get_by_role("button", name="Delete").click()
    page.get_by_role("button", name="Keep").click()
    detail.get_by_role("button", name="Delete").click()
    page.locator("#confirmation").get_by_role("button", name="Delete").click()
    expect(page.locator("#grid li", has_text="one")).to_have_count(0)
    assert httpx.get(f"{visit.service.base_url}/images/one").status_code == 404
    page.get_by_role("button", name="Random picture").click()
    expect(page.get_by_role("dialog")).to_be_visible()


def test_replaced_by_somebody_else(visit: Visit) -> None:
    """Nobody deletes or replaces what somebody else has just replaced: they see it first."""
    page = visit.page
    visit.choose(("a.png", png(40, 30)))
    visit.tile("a").click()
    expect(page.get_by_role("dialog", name="a")).to_be_visible()
    with httpx.Client(base_url=visit.service.base_url) as other:
        upload(other, png(70, 20))
        page.locator("#delete").click()
        page.locator("#confirmation").get_by_role("button", name="Delete").click()
        expect(page.locator("#detail-status")).to_have_text("A precondition is not met")
        expect(page.locator("#facts").get_by_text("70", exact=True)).to_be_visible()
        assert other.get("/images/a").content == png(70, 20)


def test_slow_replacement(visit: Visit) -> None:
    """A replacement that ends late does not take the place of another picture that is open."""
    page = visit.page
    visit.choose(("a.png", png(40, 30)), ("b.png", png(50, 20)))
    visit.tile("b").click()
    expect(page.get_by_role("dialog", name="b")).to_be_visible()
    held: list[Route] = []
    page.route("**/images", lambda route: held.append(route))  # noqa: PLW0108 - it gets an attribute
    page.set_input_files("#replacement", payload("new.jpg", jpeg(80, 60)))
    page.get_by_role("button", name="Close").click()
    visit.tile("a").click()
    expect(page.get_by_role("dialog", name="a")).to_be_visible()
    page.locator("#delete").click()
    held[0].continue_()
    expect(page.locator("#uploads li")).to_have_count(0)
    expect(page.locator("#detail-name")).to_have_text("a")
    page.locator("#confirmation").get_by_role("button", name="Delete").click()
    expect(page.locator("#grid li", has_text="a")).to_have_count(0)
    with httpx.Client(base_url=visit.service.base_url) as client:
        assert client.get("/images/a").status_code == 404
        assert client.get("/images/b").content == jpeg(80, 60)


def test_refused_file(visit: Visit) -> None:
    """A refused file shows the server's message; the other uploads continue."""
    visit.choose(("fake.png", b"no picture"), ("good.png", png()))
    visit.tile("good")
    refused = visit.page.locator("#uploads li", has_text="fake.png")
    with httpx.Client(base_url=visit.service.base_url) as client:
        detail = upload(client, b"no picture", "fake.png").json()["detail"]
    expect(refused).to_contain_text(detail)
    refused.get_by_role("button", name="Dismiss").click()
    expect(refused).to_have_count(0)


def test_unreadable_file(visit: Visit, tmp_path: Path) -> None:
    """The message for a dropped folder names this cause; the other uploads continue."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "good.png").write_bytes(png())
    dropped = {"items": [], "files": [str(tmp_path / "folder"), str(tmp_path / "good.png")]}
    session = visit.page.context.new_cdp_session(visit.page)
    for kind in ("dragEnter", "dragOver", "drop"):
        position = {"type": kind, "x": 300, "y": 300}
        session.send(
            "Input.dispatchDragEvent", position | {"data": dropped | {"dragOperationsMask": 1}}
        )
    visit.tile("good")
    refused = visit.page.locator("#uploads li", has_text="folder")
    expect(refused).to_contain_text("a folder")


def test_names_are_text(visit: Visit, service: ServiceProcess) -> None:
    """A name that looks like markup stays text everywhere."""
    with httpx.Client(base_url=service.base_url) as client:
        upload(client, png(30, 20), name=EVIL)
    visit.page.reload()
    visit.tile(EVIL).click()
    expect(visit.page.locator("#detail-name")).to_have_text(EVIL)
    visit.choose((f"{EVIL}.png", b"no picture"))
    expect(visit.page.locator("#uploads li")).to_contain_text(EVIL)
    assert visit.page.locator("img[src='x']").count() == 0


def test_filter_and_order(visit: Visit, service: ServiceProcess) -> None:
    """The prefix and the order select pictures; more of them come while scrolling."""
    page = visit.page
    with httpx.Client(base_url=service.base_url) as client:
        for number in range(130):
            upload(client, png(seed=number % 3), name=f"n{number:03}")
        upload(client, png(), name="other")
    page.reload()
    visit.tile("other")
    page.locator("#order").select_option("name")
    expect(page.locator("#grid li").first).to_have_text("n000")
    assert page.locator("#grid li").count() < 131
    page.locator("#prefix").fill("n")
    page.wait_for_function(
        """() => {
            scrollTo(0, document.body.scrollHeight);
            return document.querySelectorAll("#grid li").length === 130;
        }"""
    )
    names = page.eval_on_selector_all("#grid li", "all => all.map((one) => one.dataset.name)")
    assert names == [f"n{number:03}" for number in range(130)]


@pytest.mark.parametrize("public_reads", ["true", "images", "false"])
def test_keys(browser: Browser, service_environment: dict[str, str], public_reads: str) -> None:
    """The page asks for a key when one is needed, and forgets it with the tab."""
    key = "the-key-of-the-page"
    line = f"page:write:{hashlib.sha256(key.encode()).hexdigest()}"
    environment = service_environment | {"API_KEYS": line, "PUBLIC_READS": public_reads}
    with ServiceProcess(environment) as service:
        headers = {"Authorization": f"Bearer {key}"}
        with httpx.Client(base_url=service.base_url, headers=headers) as client:
            upload(client, png(30, 20), name="first")
        with visiting(browser, service) as visit:
            if public_reads != "true":
                visit.sign_in("wrong")
                expect(visit.page.locator("#key-status")).to_contain_text("does not know this key")
                visit.sign_in(key)
            visit.tile("first")
            visit.choose(("second.png", png(40, 30)))
            if public_reads == "true":
                visit.sign_in(key)
            visit.tile("second").click()
            visit.await_shown(visit.page.locator("#detail-picture"))
            with visit.page.expect_download() as saved:
                visit.page.get_by_role("link", name="Download").click()
            assert saved.value.path().read_bytes() == png(40, 30)
            assert visit.page.evaluate("localStorage.length") == 0
        assert key not in service.log()


def test_below_a_prefix(browser: Browser, service_environment: dict[str, str]) -> None:
    """Below the prefix of a proxy the page loads, shows and uploads."""
    with (
        ServiceProcess(service_environment, args=["--root-path", "/photos"]) as service,
        visiting(browser, service, "/photos") as visit,
    ):
        visit.choose(("a.png", png(40, 30)))
        visit.tile("a").click()
        visit.await_shown(visit.page.locator("#detail-picture"))


def test_keyboard_alone(visit: Visit) -> None:
    """Tab, Enter and Escape are enough to look at a picture and to delete it."""
    page = visit.page
    visit.choose(("a.png", png(40, 30)))
    visit.tile("a")

    def tab_to(selector: str) -> None:
        for _ in range(60):
            page.keyboard.press("Tab")
            if page.evaluate("(wanted) => document.activeElement.matches(wanted)", selector):
                return
        pytest.fail(f"Tab does not reach {selector}")

    tab_to("#grid button")
    page.keyboard.press("Enter")
    expect(page.locator("#detail")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#detail")).to_be_hidden()
    page.keyboard.press("Enter")
    expect(page.locator("#detail")).to_be_visible()
    tab_to("#replacement")
    tab_to("#delete")
    page.keyboard.press("Enter")
    tab_to("#confirmation button[value=yes]")
    page.keyboard.press("Enter")
    expect(page.locator("#grid li")).to_have_count(0)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_accessible(browser: Browser, service: ServiceProcess, theme: str) -> None:
    """axe-core finds no serious fault in the grid, the detail view and the dialogs."""
    with visiting(browser, service) as visit:
        page = visit.page
        page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
        visit.choose(("a.png", png(40, 30)), ("fake.png", b"no picture"))
        expect(page.locator("#uploads .bad")).to_be_visible()
        visit.tile("a")
        require_accessible(page)
        for width in (375, 1440):
            page.set_viewport_size({"width": width, "height": 900})
            photograph(page, f"gallery-{theme}-{width}.png")
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        visit.tile("a").click()
        visit.await_shown(page.locator("#detail-picture"))
        require_accessible(page)
        page.locator("#delete").click()
        require_accessible(page)


def require_accessible(page: Page) -> None:
    """Fail with what axe-core calls serious or critical."""
    violations = Axe().run(page).response["violations"]
    assert [one for one in violations if one["impact"] in {"serious", "critical"}] == []


def sunsets(number: int) -> Iterator[bytes]:
    """Yield pictures of a sunset in different colours."""
    with Image.open(ROOT / "docs" / "sunset.jpg") as picture:
        hue, *others = picture.convert("HSV").split()
    for shift in range(0, 256, 256 // number):
        shifted = hue.point([(value + shift) % 256 for value in range(256)])
        file = io.BytesIO()
        Image.merge("HSV", (shifted, *others)).convert("RGB").save(file, "JPEG")
        yield file.getvalue()


def test_nothing_jumps(browser: Browser, service: ServiceProcess) -> None:
    """Pictures have their place before they are loaded: the layout does not shift."""
    with httpx.Client(base_url=service.base_url) as client:
        for hour, content in enumerate(sunsets(18)):
            upload(client, content, name=f"sunset-{hour:02}")
    with visiting(browser, service) as visit:
        visit.page.set_viewport_size({"width": 1000, "height": 560})
        visit.page.reload()
        visit.tile("sunset-17")
        for picture in visit.page.locator("#grid img").all()[:15]:
            visit.await_shown(picture)
        photograph(visit.page, "page.png")
        shift = visit.page.evaluate(
            """() => new Promise((resolve) => {
                let sum = 0;
                new PerformanceObserver((list) => {
                    for (const entry of list.getEntries()) sum += entry.value;
                }).observe({ type: "layout-shift", buffered: true });
                requestAnimationFrame(() => setTimeout(() => resolve(sum), 0));
            })"""
        )
        assert shift == 0


def test_switched_off(settings: Settings) -> None:
    """With GALLERY=false there is no page."""
    with serving(settings) as client:
        assert client.get("/").headers["Content-Type"].startswith("text/html")
        assert client.head("/page/gallery.js").status_code == 200
        problem(client.get("/page/other.js"), 404, "not_found")
    with serving(settings, gallery=False) as client:
        for path in ("/", "/page/gallery.js"):
            problem(client.get(path), 404, "not_found")
