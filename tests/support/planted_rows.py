"""Inserts thousands of image rows by SQL. They have no objects, so only listings can use them."""

import random
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from sqlalchemy import Engine, Table, delete, insert, text

from db import Image

IMAGES = cast(Table, Image.__table__)
START = datetime(2026, 1, 1, tzinfo=UTC)


def row(name: str, minute: float) -> dict[str, Any]:
    """Return the values of a row that was last updated `minute` minutes after `START`."""
    moment = START + timedelta(minutes=minute)
    return {
        "name": name,
        "size_bytes": 1000,
        "extension": "png",
        "content_type": "image/png",
        "sha256": "0" * 64,
        "width": 10,
        "height": 10,
        "s3_key": f"{name}.png",
        "created_at": START - timedelta(days=1),
        "last_updated_at": moment,
    }


def plant(engine: Engine, rows: Iterable[dict[str, Any]]) -> None:
    """Insert rows in one transaction."""
    with engine.begin() as connection:
        connection.execute(insert(IMAGES), list(rows))


def uproot(engine: Engine, names: Iterable[str]) -> None:
    """Delete the rows with these names in one transaction."""
    with engine.begin() as connection:
        connection.execute(delete(IMAGES).where(IMAGES.c.name.in_(list(names))))


def plant_many(engine: Engine, number: int, planted: Iterable[int] = ()) -> list[str]:
    """Insert rows until `number` exist; the numbers in `planted` have rows already.

    The order by name differs from the order by update time. Updates the planner's statistics and
    returns the names of all rows.
    """
    left = sorted({*range(number)} - {*planted})
    minutes = random.Random(number).sample(left, len(left))
    rows = [row(name_of(i), minute) for i, minute in zip(left, minutes, strict=True)]
    for start in range(0, len(rows), 10_000):
        plant(engine, rows[start : start + 10_000])
    analyze = "ANALYZE TABLE images" if engine.dialect.name == "mysql" else "ANALYZE images"
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text(analyze))
    return [name_of(i) for i in range(number)]


def name_of(number: int) -> str:
    """Return the name of a row; names sort like their numbers."""
    return f"row-{number:07}"
