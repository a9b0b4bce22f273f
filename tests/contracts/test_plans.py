"""Contract: on every database each statement reads an index range, so none grows with the tables.

Exempt are the two that pick a random image after every draw has missed, which count the rows
(docs/decisions/014). tests/api/test_listing_plans.py also counts the rows that pages examine.
"""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from itertools import islice
from typing import Any, cast

import pytest
from sqlalchemy import Connection, Engine, Table, event, insert, text
from sqlalchemy.orm import Session

from config import Settings
from db import PendingObject, Variant, build_engine, build_sessions, writing
from repositories import images, pending_objects, references, variants
from repositories.images import RandomImages
from repositories.variants import VariantRecord
from tests.conftest import ENGINES
from tests.support.planted_rows import START, plant_many, row

pytestmark = pytest.mark.parametrize("database_url", ENGINES, indirect=True)

ROWS = 20_000
NAME = "row-0012345"
KEY = f"{NAME}.png"
MOMENT = START + timedelta(minutes=12_345)
PAGE = 20  # as small a part of the rows as a page is of large tables
SPECS = ("r2/320.jpg", "r2/320.webp")

Use = Callable[[Session, Connection], object]

USES: dict[str, Use] = {
    "find an image": lambda session, _: images.find_image(session, NAME),
    "names that exist": lambda session, _: images.existing_names(session, [NAME, "other"]),
    "lock an image": lambda _, db: images.lock_image(db, NAME),
    "replace an image": lambda _, db: images.replace_image(db, current(), {"width": 9}),
    "delete an image": lambda _, db: images.delete_image(db, current()),
    "random image": lambda session, _: RandomImages().pick(session),
    "all images": lambda _, db: take(images.read_all(db), 1001),
    "first page": lambda session, _: images.list_images(session, "-name", limit=9),
    "first page of the latest": lambda session, _: images.list_images(
        session, "-last_updated_at", limit=9
    ),
    "page by name": lambda session, _: images.list_images(
        session, "name", after=(NAME, 9), limit=9
    ),
    "page of a prefix": lambda session, _: images.list_images(
        session, "-name", prefix="row-001", after=(NAME, 9), limit=9
    ),
    "page of the latest": lambda session, _: images.list_images(
        session, "-last_updated_at", after=(MOMENT, 9), limit=9
    ),
    "image with variants": lambda session, _: variants.find_image_with_variants(
        session, NAME, SPECS
    ),
    "delete a variant": lambda _, db: variants.delete_variant(db, f"v-{KEY}"),
    "delete all variants": lambda _, db: variants.delete_variants(db, KEY),
    "delete old variants": lambda _, db: variants.delete_variants(db, KEY, "r3/"),
    "unnamed variants": lambda _, db: variants.unnamed_variants(db, f"v-{KEY}", 9),
    "find an entry": lambda _, db: pending_objects.has_entry(db, KEY),
    "finish an upload": lambda _, db: pending_objects.finish_upload(db, KEY),
    "finish uploads": lambda _, db: pending_objects.finish_uploads(db, [KEY, "other"]),
    "claim an upload": lambda _, db: pending_objects.claim_upload(db, KEY, MOMENT),
    "remove an entry": lambda _, db: pending_objects.remove_entry(db, KEY),
    "first entries of the journal": lambda _, db: pending_objects.entries_after(db, None, 9),
    "entries of the journal": lambda _, db: pending_objects.entries_after(db, (MOMENT, KEY), 9),
    "all references": lambda _, db: take(references.read_all(db), 10 * PAGE),
    "references to a key": lambda _, db: references.read_of_key(db, KEY),
}


def take(rows: Iterator[Any], number: int) -> None:
    """Read that many rows."""
    assert len(list(islice(rows, number))) == number


def current() -> images.ImageRecord:
    """Return a record that names the row."""
    return images.ImageRecord(id=1, **row(NAME, 0))


class RollBackError(Exception):
    """Rolls back what a statement has changed."""


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """Return an engine with many rows in all tables, which SQLAlchemy executes and reports."""
    settings = Settings(db_url=database_url, aws_region="none", aws_s3_bucket="none")
    engine = build_engine(settings)
    engine.update_execution_options(traced=True)
    names = plant_many(engine, ROWS)
    with engine.begin() as db:
        plant_variants_and_entries(db, names)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as db:
        for table in ("variants", "pending_objects"):
            db.execute(text(f"ANALYZE {'TABLE' if 'my' in engine.driver else ''} {table}"))
    yield engine
    engine.dispose()


def plant_variants_and_entries(db: Connection, names: list[str]) -> None:
    """Give each image a variant, and the journal as many entries."""
    about = 9, "image/webp", "0" * 64, 4, 3, START
    db.execute(
        insert(cast("Table", Variant.__table__)),
        [VariantRecord(f"{n}.png", SPECS[0], f"v-{n}.png", *about)._asdict() for n in names],
    )
    entries = [
        {"s3_key": f"{n}.png", "state": "U", "created_at": START + timedelta(minutes=i)}
        for i, n in enumerate(names)
    ]
    db.execute(insert(cast("Table", PendingObject.__table__)), entries)


def statements(engine: Engine, use: Use) -> list[tuple[str, Any]]:
    """Return the statements and parameters that `use` executes; what it changes is undone."""
    recorded: list[tuple[str, Any]] = []

    def record(_db: object, _cursor: object, sql: str, parameters: Any, *_: object) -> None:
        if sql.startswith(("SELECT", "UPDATE", "DELETE", "(SELECT")):
            recorded.append((sql, parameters))

    session = build_sessions(engine)()
    with suppress(RollBackError), writing(session) as db:
        event.listen(engine, "before_cursor_execute", record)
        try:
            use(session, db)
        finally:
            event.remove(engine, "before_cursor_execute", record)
        raise RollBackError
    assert recorded
    return recorded


def faults_in_postgresql(db: Connection, sql: str, parameters: Any, *, first: bool) -> list[str]:
    """Return the steps that read a whole table or sort."""
    plan = db.exec_driver_sql(f"EXPLAIN (FORMAT JSON) {sql}", parameters).scalar_one()
    faults = []
    for step in _steps(plan):
        kind = step["Node Type"]
        whole = kind.startswith("Index") and "Index Cond" not in step and not first
        if whole or kind in {"Seq Scan", "Sort", "Incremental Sort"}:
            faults.append(str(step))
    return faults


def _steps(plan: Any) -> Iterator[dict[str, Any]]:
    """Yield the steps of a plan."""
    for step in plan:
        inner = step.get("Plan", step)
        yield {key: value for key, value in inner.items() if key != "Plans"}
        yield from _steps(inner.get("Plans", []))


def faults_in_mysql(db: Connection, sql: str, parameters: Any, *, first: bool) -> list[str]:
    """Return the lines that read a whole table, or an index from its beginning, or sort."""
    faults = []
    for line in db.exec_driver_sql(f"EXPLAIN FORMAT=TRADITIONAL {sql}", parameters).mappings():
        derived = str(line["table"]).startswith("<")
        whole = line["type"] == "ALL" or (line["type"] == "index" and not first)
        if (whole and not derived) or re.search("filesort|temporary", str(line["Extra"])):
            faults.append(str(dict(line)))
    return faults


def faults_in_sqlite(db: Connection, sql: str, parameters: Any, *, first: bool) -> list[str]:
    """Return the lines that read a whole table, or an index from its beginning, or sort."""
    allowed = (
        r"SEARCH|SCAN (anon|CONSTANT)|SCALAR|CO-ROUTINE|MATERIALIZE|COMPOUND|LEFT-MOST|UNION ALL"
    )
    if first:
        allowed += r"|SCAN \w+ USING (COVERING )?INDEX"
    lines = db.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}", parameters)
    return [line[3] for line in lines if not re.match(allowed, line[3])]


FAULTS = {
    "postgresql": faults_in_postgresql,
    "mysql": faults_in_mysql,
    "mariadb": faults_in_mysql,
    "sqlite": faults_in_sqlite,
}


def test_plans(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """No statement reads a whole table or sorts, and only first pages begin at the first row."""
    monkeypatch.setattr(references, "_KEYS_PAGE", PAGE)
    find_faults, found = FAULTS[engine.dialect.name], dict[str, list[str]]()
    for name, use in USES.items():
        for sql, parameters in statements(engine, use):
            with engine.connect() as db:
                if faults := find_faults(db, sql, parameters, first="WHERE" not in sql):
                    found[name] = [sql, *faults]
    assert not found, json.dumps(found, indent=2)
