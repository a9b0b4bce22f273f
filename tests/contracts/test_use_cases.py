"""Contract: the use cases behave the same on every database, to the byte and the microsecond.

The tests call `ImageStore` without HTTP.
"""

import functools
import io
import itertools
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime, timedelta, timezone
from threading import Barrier
from typing import Any

import pytest
from sqlalchemy import Connection

from config import Settings
from db import writing
from errors import ImageNotFoundError, PreconditionFailedError
from repositories import images
from resources import Resources
from services.image_store import ImageRecord, ImageStore
from tests.conftest import CONTRACT_ENGINES
from tests.support.pictures import png
from tests.support.planted_rows import plant, row, uproot

pytestmark = pytest.mark.parametrize("database_url", CONTRACT_ENGINES, indirect=True)

# Some collations treat some of these names as equal.
CONFUSABLE = [
    *("a", "A", "\u00e4", "\u00c4", "\u01ce", "ae", "\u00e6", "ss", "\u00df", "\u1e9e", "i"),
    *("\u0131", "\U0001f600", "\U0001f601", "\u2764", "\u2764\ufe0f", "a\u200b", "a.", "a b"),
    *("a  b", "%", "_"),
]
LONGEST = ["n" * 255, "\u00e4" * 127 + "n", "\U0001f600" * 63 + "nnn"]
CLIENTS, ROUNDS = 6, 3
DRAWS = 240
# Chi-square with 7 degrees of freedom exceeds this value once in 10 million runs.
CRITICAL = 43.8


def unconditional(_: ImageRecord | None) -> None:
    """Accept any current version of the image."""


Opener = Callable[[Settings], Resources]


@pytest.fixture(scope="module")
def opener() -> Iterator[Opener]:
    """Return a function that opens resources, once for equal settings."""
    with ExitStack() as stack:

        @functools.cache
        def opened(settings: Settings) -> Resources:
            return stack.enter_context(Resources.open(settings))

        yield opened


@pytest.fixture
def resources(settings: Settings, opener: Opener) -> Resources:
    """Return the resources of a service that inspects headers only."""
    return opener(settings.model_copy(update={"inspection": "header", "concurrency": 8}))


@pytest.fixture
def store(resources: Resources) -> ImageStore:
    """Return the use cases."""
    return resources.store(resources.sessions())


def upload(store: ImageStore, name: str, seed: int = 0) -> ImageRecord:
    """Upload a picture under this name."""
    picture = io.BytesIO(png(2, 2, seed))
    stored = store.upload(picture, name, "png", unconditional)
    if stored.old_key:
        store.remove_unless_kept(stored.old_key)
    return stored.image


class RollBackError(Exception):
    """Rolls back what a test has written."""


@contextmanager
def rolled_back(resources: Resources) -> Iterator[Connection]:
    """Yield a connection whose writes are rolled back: their rows have no objects."""
    with suppress(RollBackError), writing(resources.sessions()) as connection:
        yield connection
        raise RollBackError


def values(name: str, **changes: Any) -> dict[str, Any]:
    """Return the values of an image row."""
    return row(name, 0) | changes


def test_names(store: ImageStore) -> None:
    """Names that differ in one byte are different images, and listings are in byte order."""
    stored = {name: upload(store, name, seed).sha256 for seed, name in enumerate(CONFUSABLE)}
    assert len(set(stored.values())) == len(CONFUSABLE)
    assert {name: store.describe(name).sha256 for name in CONFUSABLE} == stored
    listed = store.list("name", "", None, 100)
    assert [image.name for image in listed] == sorted(CONFUSABLE)
    store.delete("a", unconditional)
    with pytest.raises(ImageNotFoundError):
        store.describe("a")
    assert store.describe("A").sha256 == stored["A"]


def test_trailing_spaces(resources: Resources) -> None:
    """The database distinguishes names that differ only in trailing spaces."""
    if resources.engine.dialect.name == "mssql":
        pytest.skip("SQL Server ignores trailing spaces; names and keys have none")
    with rolled_back(resources) as connection:
        for name in ("a", "a ", "a  "):
            images.insert_image(connection, values(name))
        for name in ("a", "a ", "a  "):
            found = images.lock_image(connection, name)
            assert found
            assert (found.name, found.s3_key) == (name, f"{name}.png")


def test_normal_form(store: ImageStore) -> None:
    """The NFC and NFD forms of a name are one image, and the name is returned in NFC."""
    composed, decomposed = "\u00c9t\u00e9", "E\u0301te\u0301"
    assert upload(store, decomposed, 1).name == composed
    assert store.upload(io.BytesIO(png(2, 2, 2)), composed, "png", unconditional).outcome == (
        "replaced"
    )
    assert store.describe(decomposed) == store.describe(composed)


def test_longest_names(store: ImageStore) -> None:
    """A name of 255 UTF-8 bytes is stored completely, whatever characters it has."""
    for name in LONGEST:
        assert len(name.encode()) == 255
        upload(store, name)
        assert store.describe(name).name == name


def test_moments(resources: Resources, store: ImageStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Times are stored to the microsecond and read in UTC, whatever the time zones."""
    monkeypatch.setenv("TZ", "Asia/Kolkata")
    time.tzset()
    try:
        stored = upload(store, "a")
        described = store.describe("a")
        assert described == stored._replace(id=described.id)
        assert described.created_at.tzinfo is UTC
        half_past = timezone(timedelta(hours=5, minutes=30))
        moment = datetime(2026, 10, 25, 2, 30, 0, 999999, half_past)
        with rolled_back(resources) as connection:
            times = {"created_at": moment, "last_updated_at": moment}
            images.insert_image(connection, values("b", **times))
            found = images.lock_image(connection, "b")
        assert found
        assert (found.created_at, found.created_at.tzinfo) == (moment, UTC)
    finally:
        monkeypatch.undo()
        time.tzset()


def test_big_sizes(resources: Resources) -> None:
    """A size of more than 32 bits is stored exactly."""
    with rolled_back(resources) as connection:
        images.insert_image(connection, values("a", size_bytes=2**53 + 1))
        found = images.lock_image(connection, "a")
    assert found
    assert found.size_bytes == 2**53 + 1


def test_compare_and_swap(resources: Resources, store: ImageStore) -> None:
    """Of several clients that replace the same version at once, exactly one succeeds."""
    upload(store, "a")
    for number in range(ROUNDS):
        seen, together = store.describe("a"), Barrier(CLIENTS)

        def unchanged(current: ImageRecord | None, seen: ImageRecord = seen) -> None:
            if current is None or current.s3_key != seen.s3_key:
                raise PreconditionFailedError

        def swap(seed: int, together: Barrier = together) -> str | None:
            picture = io.BytesIO(png(2, 2, seed))
            mine = resources.store(resources.sessions())
            together.wait(timeout=30)
            try:
                stored = mine.upload(picture, "a", "png", unchanged)
            except PreconditionFailedError:
                return None
            mine.remove_unless_kept(str(stored.old_key))
            return stored.image.s3_key

        with ThreadPoolExecutor(CLIENTS) as threads:
            seeds = range(1 + number * CLIENTS, 1 + (number + 1) * CLIENTS)
            won = [key for key in threads.map(swap, seeds) if key]
        assert won == [store.describe("a").s3_key]


def test_create_once(resources: Resources, store: ImageStore) -> None:
    """Of several clients that create the same image at once, exactly one succeeds."""
    together = Barrier(CLIENTS)

    def absent(current: ImageRecord | None) -> None:
        if current is not None:
            raise PreconditionFailedError

    def create(seed: int) -> bool:
        mine, picture = resources.store(resources.sessions()), io.BytesIO(png(2, 2, seed))
        together.wait(timeout=30)
        try:
            return mine.upload(picture, "a", "png", absent).outcome == "created"
        except PreconditionFailedError:
            return False

    with ThreadPoolExecutor(CLIENTS) as threads:
        assert sum(threads.map(create, range(CLIENTS))) == 1
    assert store.describe("a").name == "a"


def test_random_under_churn(resources: Resources, store: ImageStore) -> None:
    """A random image is uniform, with gaps between the ids and during concurrent changes."""
    random.seed(4)  # the service uses this generator
    rows = [values(f"row-{number:02}") for number in range(60)]
    for one in rows:  # one at a time, so that the ids are in order
        plant(resources.engine, [one])
    steady = [f"row-{number:02}" for number in (1, 2, 3, 17, 18, 30, 44, 59)]
    uproot(resources.engine, [one["name"] for one in rows if one["name"] not in steady])
    counts: Counter[str] = Counter()
    drawn = 0
    while counts.total() < DRAWS:
        passing = f"passing-{drawn}"
        drawn += 1
        if drawn % 6 == 1:
            plant(resources.engine, [values(passing)])
        name = store.describe_random().name
        counts.update([name] if name in steady else [])
        if drawn % 6 == 1:
            uproot(resources.engine, [passing])
    uproot(resources.engine, steady)
    expected = DRAWS / len(steady)
    assert sum((counts[name] - expected) ** 2 / expected for name in steady) < CRITICAL, counts
    with pytest.raises(ImageNotFoundError):
        store.describe_random()


def test_pages(resources: Resources, store: ImageStore) -> None:
    """The pages of every order have each image with the prefix exactly once, including ties."""
    names = [*(f"p{number:02}" for number in range(25)), *("P00", "o", "q", "p", "p_", "p%")]
    plant(resources.engine, [row(name, number // 3) for number, name in enumerate(names)])
    wanted = sorted(name for name in names if name.startswith("p"))
    for column, descending in itertools.product(["name", "last_updated_at"], [False, True]):
        found = pages(store, f"{'-' * descending}{column}", "p")
        assert sorted(image.name for image in found) == wanted
        keys = [(getattr(image, column), image.id) for image in found]
        assert keys == sorted(keys, reverse=descending)
    assert store.list("name", "", None, 1)[0].name == "P00"
    uproot(resources.engine, names)


def test_existing_names(resources: Resources, store: ImageStore) -> None:
    """Names are found exactly, however many are asked for."""
    names = [f"e{number:04}" for number in range(0, 2000, 700)]
    plant(resources.engine, [row(name, 0) for name in names])
    asked = [f"{letter}{number:04}" for number in range(2000) for letter in "eE"]
    assert store.existing_names(asked) == set(names)
    assert store.existing_names([]) == set()
    uproot(resources.engine, names)


def pages(store: ImageStore, order: str, prefix: str) -> list[ImageRecord]:
    """Return the images of all pages of a listing."""
    found: list[ImageRecord] = []
    after = None
    while page := store.list(order, prefix, after, 4):
        assert len(page) <= 4
        found += page
        after = getattr(page[-1], order.removeprefix("-")), page[-1].id
    return found
