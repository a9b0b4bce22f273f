"""A bucket and a database in which the tests of `verification` plant damage."""

import atexit
import functools
import io
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from config import Settings
from db import build_engine, build_sessions, reading, writing
from devstack.databases import connection
from repositories import pending_objects
from s3_client import Bucket
from services.image_store import ImageStore
from services.inspection import Inspector
from services.maintenance.verification import Damage, Finding, Verifier, VerifyReport
from services.write_protocol import remove_object
from tests.support.pictures import png

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

STRANGE_KEY = "Ünï cöde/with ?#%&<>'\".jpg"  # the service never generates such a key
LONG_KEY = f"folder/{'k' * 250}/x"  # longer than the key columns


class World:
    """A bucket and a database, changed through the service or around it."""

    def __init__(self, settings: Settings, s3: "S3Client", bucket: Bucket) -> None:
        self.settings, self.s3, self.bucket = settings, s3, bucket
        self.engine = build_engine(settings)
        self.sessions = build_sessions(self.engine)

    def image(self, name: str, seed: int = 0) -> str:
        """Upload an image through the use case; return its key."""
        store = ImageStore(self.sessions(), self.bucket, Inspector(self.settings), self.settings)
        stored = store.upload(io.BytesIO(png(seed=seed)), name, "png", lambda _: None)
        if stored.old_key:
            self.finish_delete(stored.old_key)
        return stored.image.s3_key

    def delete_image(self, name: str) -> None:
        """Delete an image through the use case, including its object."""
        self.finish_delete(self.begin_delete(name))

    def begin_delete(self, name: str) -> str:
        """Delete the row of an image; return the key of the object that remains."""
        store = ImageStore(self.sessions(), self.bucket, Inspector(self.settings), self.settings)
        return store.delete(name, lambda _: None).s3_key

    def finish_delete(self, key: str) -> None:
        """Delete an object and its journal entry."""
        remove_object(self.sessions(), self.bucket, key)

    def put(self, key: str, body: bytes = b"bytes") -> str:
        """Store an object directly in the bucket; return its key."""
        self.s3.put_object(Bucket=self.settings.aws_s3_bucket, Key=key, Body=body)
        return key

    def remove(self, key: str) -> str:
        """Delete an object directly from the bucket; return its key."""
        self.s3.delete_object(Bucket=self.settings.aws_s3_bucket, Key=key)
        return key

    def entry(self, key: str, state: str) -> str:
        """Write a journal entry with this state; return its key."""
        with writing(self.sessions()) as db:
            journal = {
                "U": pending_objects.journal_upload,
                "D": pending_objects.journal_deletion,
            }
            journal[state](db, key, datetime.now(UTC))
        return key

    def entries(self) -> list[pending_objects.JournalEntry]:
        """Return all journal entries."""
        with reading(self.sessions()) as db:
            return list(pending_objects.entries_after(db, None, 1000))

    def keys(self) -> set[str]:
        """Return the keys of all objects."""
        return {key for key, _ in self.bucket.list_objects()}

    def rows(self) -> list[Any]:
        """Return all image rows."""
        with connection(self.settings.db_url) as db:
            return list(db.execute(text("SELECT * FROM images ORDER BY id")).all())

    def verifier(self, **options: Any) -> Verifier:
        """Return a verifier of this bucket and database; `options` are fields of Verifier."""
        fields = {"sessions": self.sessions, "bucket": self.bucket, "settings": self.settings}
        return Verifier(**{**fields, **options})

    def verify(self, **options: Any) -> tuple[set[tuple[Damage, str]], VerifyReport]:
        """Run a verification; return each damage with its key, and the report."""
        found: list[Finding] = []
        report = self.verifier(**options).verify(found.append, lambda *_: None)
        assert report.found.total() == len(found)
        return {(finding.damage, finding.key) for finding in found}, report


def healthy(world: World) -> None:
    """Create every state that is legal, including what crashed uploads and deletes leave."""
    for seed in range(3):
        world.image(f"image {seed}", seed)
    world.entry("uploading-not-yet-there.png", "U")
    world.entry(world.put("uploading.png"), "U")
    world.entry(world.put("overwritten.png"), "D")
    world.entry("deleted-but-not-forgotten.png", "D")


def damaged(world: World) -> set[tuple[Damage, str]]:
    """Plant damage of every kind; return the findings that a deep verification must report."""
    healthy(world)
    size = len(png())
    body = png()[:-1] + b"?"
    world.image("the same size")
    return {
        (Damage.LOST, world.remove(world.image("lost"))),
        (Damage.LOST, world.remove(world.entry(world.image("lost and journaled"), "D"))),
        (Damage.ORPHAN, world.put("orphan.png")),
        (Damage.ORPHAN, world.put(STRANGE_KEY)),
        (Damage.WRONG_SIZE, world.put(world.image("wrong size"), b"x" * (size - 1))),
        (Damage.WRONG_SIZE, world.put(world.image("empty"), b"")),
        (Damage.ALTERED, world.put(world.image("altered"), body)),
        (Damage.DOOMED, world.entry(world.image("doomed"), "D")),
    }


@functools.cache
def _bucket(endpoint: str, name: str, region: str) -> Bucket:
    """Return a shared client of the bucket: creating one takes longer than most tests here."""
    location = {"aws_endpoint_url_s3": endpoint, "aws_s3_bucket": name, "aws_region": region}
    bucket = Bucket(Settings.model_validate({"db_url": "sqlite:///unused.db", **location}))
    atexit.register(bucket.close)
    return bucket


@contextmanager
def worlds(settings: Settings, s3: "S3Client") -> Iterator[World]:
    """Yield the bucket and the database that these settings name."""
    location = (str(settings.aws_endpoint_url_s3), settings.aws_s3_bucket, settings.aws_region)
    world = World(settings, s3, _bucket(*location))
    yield world
    world.engine.dispose()
