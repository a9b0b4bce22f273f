"""The restore drill: every object that a restored database names is still there."""

import io
import random
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, NamedTuple

import pytest
from sqlalchemy import delete, insert, select, text

from config import Settings
from db import Base, snapshot
from devstack.service_process import ROOT
from errors import ImageNotFoundError
from resources import Resources
from services.image_store import ImageRecord, ImageStore
from services.maintenance.verification import Damage, Finding, VerifyReport
from tests.support.pictures import png

NAMES = [f"image-{number}" for number in range(8)]
PICTURES = [png(seed=seed) for seed in range(24)]
WRITERS, WRITES = 4, 25
PAGE = ROOT / "docs" / "backup-and-restore.md"


class Backup(NamedTuple):
    """The rows of every table at one moment."""

    rows: dict[str, Sequence[dict[str, Any]]]

    @classmethod
    def take(cls, resources: Resources) -> "Backup":
        """Read all tables in one snapshot, as the databases' dump programs do."""
        with snapshot(resources.sessions()) as connection:
            return cls(
                {
                    table.name: [dict(row) for row in connection.execute(select(table)).mappings()]
                    for table in Base.metadata.sorted_tables
                }
            )

    def restore(self, resources: Resources) -> None:
        """Replace the content of every table with the backup."""
        with resources.engine.begin() as connection:
            for table in Base.metadata.sorted_tables:
                connection.execute(delete(table))
                if rows := self.rows[table.name]:
                    connection.execute(insert(table), rows)


def write(resources: Resources, seed: int) -> None:
    """Upload, overwrite and delete at random, through the use cases that the handlers call."""
    chance = random.Random(seed)
    for _ in range(WRITES):
        store, name = resources.store(resources.sessions()), chance.choice(NAMES)
        change(store, name, None if chance.random() < 0.3 else chance.choice(PICTURES))


def change(store: ImageStore, name: str, picture: bytes | None) -> None:
    """Upload the picture; without one, delete the image if it exists."""
    if picture:
        result = store.upload(io.BytesIO(picture), name, "png", lambda _: None)
        if result.old_key:
            store.remove_unless_kept(result.old_key)
    else:
        with suppress(ImageNotFoundError):
            store.remove_unless_kept(store.delete(name, lambda _: None).s3_key)


def all_images(store: ImageStore) -> list[ImageRecord]:
    """Return all images."""
    return store.list("name", "", None, 1000)


def verify(resources: Resources, *, repairs: bool = False) -> tuple[VerifyReport, list[Finding]]:
    """Run a deep verification and return its report and findings."""
    found: list[Finding] = []
    verifier = resources.verifier(deep=True, repairs=repairs)
    return verifier.verify(found.append, lambda *_: None), found


def undo_repair(resources: Resources) -> None:
    """Remove repaired orphans from the journal with the statement of the page."""
    statement = re.search(r"`(DELETE FROM [^`]*)`", PAGE.read_text())
    assert statement
    with resources.engine.begin() as connection:
        connection.execute(text(statement[1]))


def drill(resources: Resources) -> None:
    """Back up under load, overwrite or delete every image, and restore the backup."""
    with ThreadPoolExecutor(WRITERS) as threads:
        for name in NAMES[:4]:
            change(resources.store(resources.sessions()), name, PICTURES[0])
        writers = [threads.submit(write, resources, seed) for seed in range(WRITERS)]
        backup = Backup.take(resources)
        for writer in writers:
            writer.result()
    store = resources.store(resources.sessions())
    for number, name in enumerate(NAMES):
        change(store, name, None if number % 2 else png(seed=100 + number))
        change(store, name, png(seed=200 + number) if number % 3 else None)
    backup.restore(resources)


def test_kept(settings: Settings) -> None:
    """With KEEP_DELETED_SECONDS a restore loses nothing; newer objects become journaled orphans."""
    with Resources.open(settings.model_copy(update={"keep_deleted_seconds": 3600.0})) as resources:
        drill(resources)
        resources.sweeper().sweep()
        report, found = verify(resources)
        assert {finding.damage for finding in found} == {Damage.ORPHAN}
        assert report.images >= 1
        report, _ = verify(resources, repairs=True)
        assert report.clean
        assert report.journaled == report.found.total() == len(found)
        undo_repair(resources)
        assert verify(resources)[1] == found
        verify(resources, repairs=True)
        store = resources.store(resources.sessions())
        for image in all_images(store):
            body = store.open_object(image, 0, image.size_bytes - 1)
            assert body
            assert body.read_all(image.size_bytes)


@pytest.mark.planted_damage
def test_nothing_kept(settings: Settings) -> None:
    """Without KEEP_DELETED_SECONDS the same drill loses images."""
    with Resources.open(settings) as resources:
        drill(resources)
        _, found = verify(resources)
        assert Damage.LOST in {finding.damage for finding in found}
