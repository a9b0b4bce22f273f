"""A page of the listing reads one index range, so it costs the same at row 4,000 and row 16,000.

The tests record the statements that the service sends to the database, and compare the plans and
the numbers of examined rows that the engines report for them.
"""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Engine, event, make_url

from config import Settings
from devstack.databases import engine_for, through
from tests.support.fault_proxy import Fault, FaultProxy
from tests.support.planted_rows import name_of, plant, plant_many, row

ROWS = 20_000
# These rows are inserted first: pages of one row then give cursors that point deep into the full
# table. Near its end PostgreSQL may prefer to fetch the few remaining rows and sort them.
MARKS = (0, 4000, 10_000, 12_500, 14_500, 16_000, 19_999)
ORDERS = ["name", "-name", "last_updated_at", "-last_updated_at"]
LIMIT = 100
EXAMINED = {LIMIT, LIMIT + 1, LIMIT + 2}  # the page, one row more, and the cursor's own row
INDEXES = {
    "postgresql": {"name": "images_name_key", "last_updated_at": "images_by_last_update"},
    "mysql": {"name": "name", "last_updated_at": "images_by_last_update"},
    "sqlite": {"name": "sqlite_autoindex_images_1", "last_updated_at": "images_by_last_update"},
}
SELECT = re.compile(r"SELECT [^\0]*? FROM images[^\0]*? LIMIT \d+(?: OFFSET 0)?", re.IGNORECASE)

pytestmark = pytest.mark.planted_damage  # rows without objects


class RecordingProxy(FaultProxy):
    """A proxy before a database that records what the clients send."""

    def __init__(self, target: tuple[str, int]) -> None:
        super().__init__(target)
        self.recorded: list[str] = []

    def claim(self, tail: bytes, chunk: bytes) -> Fault | None:
        """Record the next bytes."""
        self.recorded.append(chunk.decode(errors="replace"))
        return super().claim(tail, chunk)


class Listing:
    """The service's listing, with its recorded statements and an engine to explain them."""

    def __init__(self, client: TestClient, engine: Engine, recorded: list[str]) -> None:
        self.client, self.engine, self._recorded = client, engine, recorded

    def page(self, **parameters: Any) -> tuple[str | None, str]:
        """Request a page; return the next cursor and the statement that was sent."""
        self._recorded.clear()
        answer = self.client.get("/images", params=parameters)
        assert answer.status_code == 200
        (statement,) = SELECT.findall("\0".join(self._recorded).replace("\n", " "))
        return answer.json()["next_cursor"], statement

    def explain(self, how: str, statement: str) -> list[Any]:
        """Return the rows of the EXPLAIN command `how` for the statement."""
        with self.engine.connect() as connection:
            return [tuple(row) for row in connection.exec_driver_sql(f"{how} {statement}")]

    @property
    def kind(self) -> str:
        """The name of the engine's dialect."""
        return self.engine.dialect.name


@pytest.fixture
def listing(settings: Settings) -> Iterator[Listing]:
    """Return the listing of a service whose statements are recorded."""
    from main import create_app  # noqa: PLC0415 - only tests of the application need it

    engine = engine_for(settings.db_url)
    plant(engine, (row(name_of(mark), mark) for mark in MARKS))
    url = make_url(settings.db_url)
    with ExitStack() as ends:
        recorded = list[str]()
        if url.host:
            port = url.port or {"postgresql": 5432}.get(url.get_backend_name(), 3306)
            proxy = ends.enter_context(RecordingProxy((url.host, port)))
            recorded = proxy.recorded
            changed = through(settings.db_url, proxy.address)
            settings = Settings.model_validate(settings.model_dump() | {"db_url": changed})
        app = create_app(settings)
        client = ends.enter_context(TestClient(app))
        if not url.host:
            engine = client.app_state["resources"].engine
            event.listen(engine, "checkout", lambda db, *_: trace(db, recorded))
        yield Listing(client, engine, recorded)
    engine.dispose()


def trace(connection: Any, recorded: list[str]) -> None:
    """Record every statement of a SQLite connection, with its values."""
    connection.set_trace_callback(recorded.append)


def nodes(plan: Any) -> Iterator[dict[str, Any]]:
    """Yield every node of a JSON plan."""
    if isinstance(plan, dict):
        yield plan
    for child in plan.values() if isinstance(plan, dict) else plan:
        if isinstance(child, dict | list):
            yield from nodes(child)


def examined_by_postgresql(listing: Listing, order: str, statement: str) -> float:
    """Check that PostgreSQL scans an index in order; return the number of examined rows."""
    ((plan,),) = listing.explain("EXPLAIN (ANALYZE, FORMAT JSON)", statement)
    steps = [node for node in nodes(plan) if "Node Type" in node]
    assert [step["Node Type"] for step in steps] == ["Limit", "Index Scan"]
    scan, column = steps[1], order.removeprefix("-")
    assert scan["Index Name"] == INDEXES["postgresql"][column]
    assert scan["Scan Direction"] == ("Backward" if order.startswith("-") else "Forward")
    assert column in scan["Index Cond"], "a range, not the whole index"
    return float(scan["Actual Rows"] + scan.get("Rows Removed by Filter", 0))


def examined_by_mariadb(listing: Listing, order: str, statement: str) -> float:
    """Check that MariaDB reads an index range in order; return the number of examined rows."""
    ((document,),) = listing.explain("ANALYZE FORMAT=JSON", statement)
    assert not re.search("sort|temporary", document)
    (table,) = [node for node in nodes(json.loads(document)) if "access_type" in node]
    index = INDEXES["mysql"][order.removeprefix("-")]
    assert (table["access_type"], table["key"]) == ("range", index)
    return float(table["r_rows"] * table["r_loops"])


def examined_by_sqlite(listing: Listing, order: str, statement: str) -> float:
    """Check that SQLite searches an index range without sorting. SQLite reports no row counts."""
    (line,) = listing.explain("EXPLAIN QUERY PLAN", statement)
    column = order.removeprefix("-")
    index = INDEXES["sqlite"][column]
    assert re.fullmatch(rf"SEARCH images USING INDEX {index} \({column}[<>]\?.*\)", line[3])
    return LIMIT


EXAMINE: dict[str, Callable[[Listing, str, str], float]] = {
    "postgresql": examined_by_postgresql,
    "mysql": examined_by_mariadb,
    "sqlite": examined_by_sqlite,
}


def cursors(listing: Listing, order: str, prefix: str) -> list[str]:
    """Return the cursor after each row of a listing except the first and the last."""
    found = list[str]()
    cursor, _ = listing.page(order=order, prefix=prefix, limit=1)
    while cursor:
        found.append(cursor)
        cursor, _ = listing.page(order=order, prefix=prefix, limit=1, cursor=cursor)
    return found[1:]


def assert_begins_an_index(listing: Listing, statement: str) -> None:
    """Check that the first page, which only LIMIT bounds, uses an index without sorting."""
    how = {"postgresql": "EXPLAIN", "mysql": "EXPLAIN FORMAT=JSON"}
    plan = str(listing.explain(how.get(listing.kind, "EXPLAIN QUERY PLAN"), statement))
    assert not re.search("sort|temp|seq scan", plan, re.IGNORECASE)
    assert any(index in plan for index in INDEXES[listing.kind].values())


# Not on MySQL: PyMySQL uses TLS there, so a proxy cannot record statements.
@pytest.mark.parametrize("database_url", ["sqlite", "postgresql", "mariadb"], indirect=True)
def test_plans(listing: Listing) -> None:
    """In every order, with and without a prefix, each page is one index range of equal cost."""
    kinds = [(order, "") for order in ORDERS] + [("name", "row-001"), ("-name", "row-001")]
    by_kind = {kind: cursors(listing, *kind) for kind in kinds}
    plant_many(listing.engine, ROWS, MARKS)
    for (order, prefix), deep in by_kind.items():
        _, first = listing.page(order=order, prefix=prefix, limit=LIMIT)
        assert_begins_an_index(listing, first)
        counts = set()
        for cursor in deep:
            _, statement = listing.page(order=order, prefix=prefix, limit=LIMIT, cursor=cursor)
            counts.add(EXAMINE[listing.kind](listing, order, statement))
        assert len(counts) == 1
        assert counts <= EXAMINED
