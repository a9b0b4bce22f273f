"""GET /images: orders, prefixes, limits and cursors; listings are complete under writes."""

import base64
import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import count
from threading import Event
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Engine

from config import Settings
from devstack.databases import engine_for
from devstack.waiting import wait_until
from tests.support.pictures import png
from tests.support.planted_rows import plant, plant_many, row, uproot

ORDERS = ["name", "-name", "last_updated_at", "-last_updated_at"]
# In order of code points, which is also that of UTF-8 bytes; SQL collations order them otherwise.
NAMES = [
    "A b",
    "A-b",
    "Zz",
    "a",
    "a b",
    "a%",
    "a_",
    "aa",
    "b",
    "\xc4",
    "\xe4",
    "\u6771",
    "\U0001f33b",
]
SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
PLANTED = pytest.mark.planted_damage  # rows without objects

pytestmark = PLANTED


@pytest.fixture
def engine(settings: Settings) -> Iterator[Engine]:
    """Return an engine for the test's own statements."""
    engine = engine_for(settings.db_url)
    yield engine
    engine.dispose()


@pytest.fixture
def names(engine: Engine) -> list[str]:
    """Insert a row for each of NAMES, updated in another order; return them in that order."""
    later = [NAMES[7 * i % len(NAMES)] for i in range(len(NAMES))]
    plant(engine, (row(name, minute) for minute, name in enumerate(later)))
    return later


def page(client: TestClient, url: str = "/images", **parameters: Any) -> dict[str, Any]:
    """Return a page of the listing after checking that Link and next_cursor agree."""
    answer: httpx.Response = client.get(url, params=parameters or None)
    assert answer.status_code == 200, answer.text
    document: dict[str, Any] = answer.json()
    cursor, link = document["next_cursor"], answer.links.get("next")
    assert (link is None) == (cursor is None)
    if link:
        assert httpx.URL(link["url"]).params["cursor"] == cursor
    return document | {"link": link and link["url"]}


def all_names(client: TestClient, **parameters: Any) -> list[str]:
    """Follow the links through a whole listing and return the names."""
    found, following = [], page(client, **parameters)
    while True:
        found += [image["name"] for image in following["images"]]
        if following["link"] is None:
            return found
        following = page(client, following["link"])


@pytest.mark.parametrize("limit", [1, 3, 13, 14])
def test_orders(client: TestClient, names: list[str], limit: int) -> None:
    """Every order is exact on every engine, both ways and with pages of any size."""
    listed = {order: all_names(client, order=order, limit=limit) for order in ORDERS}
    assert listed == {
        "name": NAMES,
        "-name": NAMES[::-1],
        "last_updated_at": names,
        "-last_updated_at": names[::-1],
    }
    assert all_names(client, limit=limit) == NAMES


PREFIXES = ["", "a", "A", "a ", "a%", "a_", "\xe4", "a\u0308", "\U0001f33b", "\U0010ffff", "zz"]


@pytest.mark.parametrize("order", ORDERS)
def test_prefix(client: TestClient, names: list[str], order: str) -> None:
    """A prefix matches exactly its NFC-normalised characters, not patterns or other cases."""
    in_order = names if order.endswith("last_updated_at") else NAMES
    for prefix in PREFIXES:
        wanted = "\xe4" if prefix == "a\u0308" else prefix
        expected = [name for name in in_order if name.startswith(wanted)]
        if order.startswith("-"):
            expected.reverse()
        assert all_names(client, order=order, prefix=prefix, limit=2) == expected


def test_ties(client: TestClient, engine: Engine) -> None:
    """Rows with the same update time are each listed once, in both directions."""
    names = {f"tie-{i:02}" for i in range(25)}
    plant(engine, (row(name, 1) for name in sorted(names)))
    for order in ("last_updated_at", "-last_updated_at"):
        listed = all_names(client, order=order, limit=4)
        assert (len(listed), set(listed)) == (25, names)


@SQLITE
def test_limits(client: TestClient, engine: Engine) -> None:
    """A page has 100 images by default and 1000 at most; an invalid limit or order is 422."""
    plant_many(engine, 1001)
    assert len(page(client)["images"]) == 100
    assert len(page(client, limit=1000)["images"]) == 1000
    for limit in ("0", "-1", "1001", "x", "1.5", ""):
        answer = client.get("/images", params={"limit": limit})
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_parameter")
    assert client.get("/images", params={"order": "size_bytes"}).status_code == 422


@SQLITE
def test_empty_and_last_page(client: TestClient, engine: Engine) -> None:
    """An empty page and the last page have no next_cursor, even if the last page is full."""
    assert page(client) == {"images": [], "next_cursor": None, "link": None}
    plant_many(engine, 4)
    assert page(client, limit=4)["next_cursor"] is None
    last = page(client, page(client, limit=2)["link"])
    assert (len(last["images"]), last["next_cursor"]) == (2, None)


@SQLITE
def test_items(client: TestClient, engine: Engine) -> None:
    """An item equals the image's metadata; HEAD has the header fields of GET."""
    client.post("/images", files={"file": ("real.png", png())}).raise_for_status()
    plant_many(engine, 3)
    images = page(client, order="-last_updated_at", limit=1)["images"]
    assert images == [client.get("/images/real/metadata").json()]
    get, head = (client.request(method, "/images?limit=1") for method in ("GET", "HEAD"))
    for answer in (get, head):
        del answer.headers["x-request-id"]
    assert (head.status_code, head.headers, head.content) == (200, get.headers, b"")


def forged(document: object) -> str:
    """Return a cursor in the service's encoding."""
    return base64.urlsafe_b64encode(json.dumps(document).encode()).decode().rstrip("=")


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_MICROSECONDS_OF_YEAR_1 = (datetime.min.replace(tzinfo=UTC) - _EPOCH) // _MICROSECOND
_MICROSECONDS_OF_YEAR_10000 = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // _MICROSECOND + 1

FORGED = [
    ["name", "", "x"],
    ["name", "", "x", 1, 2],
    ["name", "", 5, 1],
    ["name", "", None, 1],
    ["name", "", ["x"], 1],
    ["name", "", "x", "1"],
    ["name", "", "x", None],
    ["name", "", "x", True],
    ["name", "", "x", False],
    ["name", "", "x", 1.0],
    ["name", "", "x", float("nan")],
    ["name", "", "x", float("inf")],
    ["name", "", "x", [1]],
    ["name", "", "x", {"id": 1}],
    ["name", "", "x", 2**63],
    ["name", "", "x", -(2**63) - 1],
    ["name", "", "x", 10**1000],
    ["name", "", True, 1],
    ["name", "", {"x": 1}, 1],
    ["name", ["", ""], "x", 1],
    [["name"], "", "x", 1],
    ["name", "", "x\x00", 1],
    ["name", "", "\ud800", 1],
    ["name", "", "x\udfff", 1],
    ["last_updated_at", "", True, 1],
    ["last_updated_at", "", 1, True],
    ["last_updated_at", "", float("nan"), 1],
    ["last_updated_at", "", float("-inf"), 1],
    ["last_updated_at", "", None, 1],
    ["last_updated_at", "", [1], 1],
    ["last_updated_at", "", _MICROSECONDS_OF_YEAR_1 - 1, 1],
    ["last_updated_at", "", _MICROSECONDS_OF_YEAR_10000, 1],
    ["last_updated_at", "", "2026-01-01", 1],
    ["last_updated_at", "", 10**30, 1],
    ["last_updated_at", "", 2**62, 1],
    ["last_updated_at", "", 0.5, 1],
    {"name": "x"},
    "name",
    None,
    ["name", "", "e\u0301" * 1000, 1],
    ["name", "", "x" * 6000, 1],
]
MANGLED = ["x", "!", "%00", "\xe9", "A" * 10_000, "[[" * 5000, forged(None) + "=", "e30"]


def test_forged_cursor(client: TestClient, names: list[str]) -> None:
    """A cursor that the service never issued is 400."""
    for order in ("name", "last_updated_at"):
        for cursor in (*map(forged, FORGED), *MANGLED):
            answer = client.get("/images", params={"order": order, "cursor": cursor})
            assert (answer.status_code, answer.json()["code"]) == (400, "invalid_cursor"), cursor
    assert len(all_names(client)) == len(names)


@pytest.mark.parametrize("order", ORDERS)
def test_cursor_at_the_limits(client: TestClient, names: list[str], order: str) -> None:
    """A cursor at the lowest or highest position of a listing works on every engine."""
    lowest, highest = {
        "name": ("", chr(0x10FFFF) * 63),
        "last_updated_at": (_MICROSECONDS_OF_YEAR_1, _MICROSECONDS_OF_YEAR_10000 - 1),
    }[order.removeprefix("-")]
    before, behind = (lowest, highest) if order[0] != "-" else (highest, lowest)
    for id_ in (-(2**63), 2**63 - 1):
        shown = all_names(client, order=order, cursor=forged([order, "", before, id_]))
        assert sorted(shown) == sorted(names)
        assert all_names(client, order=order, cursor=forged([order, "", behind, id_])) == []


@SQLITE
@pytest.mark.usefixtures("names")
def test_cursor_of_another_listing(client: TestClient) -> None:
    """A cursor is valid for its own order and prefix only, with any limit."""
    listings = [{"order": order, "prefix": prefix} for order in ORDERS for prefix in ("", "a")]
    cursors = [page(client, **listing, limit=1)["next_cursor"] for listing in listings]
    for i, cursor in enumerate(cursors):
        assert re.fullmatch(r"[\w-]+", cursor), "a URL would have to escape it"
        for j, listing in enumerate(listings):
            answer = client.get("/images", params={**listing, "cursor": cursor, "limit": 7})
            assert answer.status_code == (200 if i == j else 400)


@SQLITE
def test_cursor_of_a_deleted_row(client: TestClient, engine: Engine) -> None:
    """A page continues at its cursor's position even if the row there was deleted."""
    names = plant_many(engine, 30)
    for order in ORDERS:
        first = page(client, order=order, limit=10)
        shown = [image["name"] for image in first["images"]]
        last = shown[-1]
        uproot(engine, [last])
        rest = all_names(client, order=order, cursor=first["next_cursor"], limit=10)
        assert sorted(shown + rest) == names
        plant(engine, [row(last, 1000 + ORDERS.index(order))])


@contextmanager
def others_writing(engine: Engine) -> Iterator[list[int]]:
    """Insert and delete other rows throughout the listing; yield the numbers of the batches."""
    stop, written = Event(), list[int]()

    def write() -> None:
        for i in count():
            if stop.is_set():
                return
            batch = [f"row-{(i * 37 + k * 911) % 5000:07}-other-{i}" for k in range(20)]
            plant(engine, (row(name, (i * 53 + k * 677) % 5000) for k, name in enumerate(batch)))
            written.append(i)
            uproot(engine, batch[::2] if i % 3 else batch)

    with ThreadPoolExecutor(1) as pool:
        writer = pool.submit(write)
        try:
            yield written
        finally:
            stop.set()
        writer.result()


def check_stability(client: TestClient, engine: Engine, number: int, limit: int) -> None:
    """Check that each of `number` rows is listed once, in every order, while others write."""
    kept = plant_many(engine, number)
    with others_writing(engine) as written:
        wait_until(lambda: len(written) > 2, timeout=30, what="others to write")
        for order in ORDERS:
            before = len(written)
            for _ in range(100):  # the writer may be slower than the reader
                listed = all_names(client, order=order, limit=limit)
                assert sorted(name for name in listed if "other" not in name) == kept
                if len(written) > before:
                    break
            assert len(written) > before
            assert any("other" in name for name in listed)


def test_stable_while_others_write(client: TestClient, engine: Engine) -> None:
    """Each of 5,000 rows is listed once while other rows are inserted and deleted."""
    check_stability(client, engine, 5000, limit=250)


@pytest.mark.soak
def test_stable_for_long(client: TestClient, engine: Engine) -> None:
    """Each of 100,000 rows is listed once while other rows are inserted and deleted."""
    check_stability(client, engine, 100_000, limit=1000)
