"""Variants whose original no image names: a release without variants has replaced or deleted it."""

import pytest
from sqlalchemy import func, insert, select

from config import Settings
from db import Variant, reading, writing
from resources import Resources
from services.maintenance import sweeper
from tests.support.planted_rows import START
from tests.support.uploads import on_sqlite
from tests.support.variants import resources


def plant(opened: Resources, names: str) -> None:
    """Insert variants without an image; their objects do not exist."""
    about = {"size_bytes": 9, "content_type": "image/png", "sha256": "0" * 64}
    sizes = {"width": 4, "height": 3, "created_at": START, "spec": "r1/160.png"}
    rows = [{"original_key": n, "s3_key": f"v-{n}", **about, **sizes} for n in names]
    with writing(opened.sessions()) as connection:
        connection.execute(insert(Variant), rows)


def left(opened: Resources) -> int:
    """Return the number of variants."""
    with reading(opened.sessions()) as connection:
        return connection.scalar(select(func.count()).select_from(Variant)) or 0


@on_sqlite
def test_slices(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first sweep removes all of them; each later sweep handles one slice of the table."""
    monkeypatch.setattr(sweeper, "_VARIANTS_SLICE", 2)
    with resources(settings) as opened:
        sweeps = opened.sweeper()
        plant(opened, "abcde")
        sweeps.sweep()
        assert left(opened) == 0
        plant(opened, "fghij")
        counts = []
        for _ in range(3):
            sweeps.sweep()
            counts.append(left(opened))
        assert counts == [3, 1, 0]
