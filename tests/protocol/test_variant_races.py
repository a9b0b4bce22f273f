"""A variant is committed only while a row names its original, and is deleted with the original."""

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import event

from config import Settings, VariantSpec
from errors import DatabaseUnavailableError
from resources import Resources
from s3_client import Bucket
from services.maintenance.purge import purge
from services.variant_formats import VariantChoice
from services.variant_store import MissingVariant, Variant
from tests.support.uploads import count
from tests.support.variants import HIGH, WIDE

NAME = "a person"
CHOICE = VariantChoice(VariantSpec.parse("160"), ("png",))
A_WEEK = {"keep_deleted_seconds": 7 * 24 * 3600.0}
Act = Callable[[Resources], object]


class InterruptedBucket(Bucket):
    """A bucket that calls `after_put` once, between its next PUT and the transaction after it."""

    after_put: Callable[[], object] | None = None

    def upload_image(self, *args: Any, **options: Any) -> None:
        """Put the object, then act."""
        super().upload_image(*args, **options)
        act, self.after_put = self.after_put, None
        if act:
            act()


@contextmanager
def opened(settings: Settings, **changes: float) -> Iterator[Resources]:
    """Open the resources of a service with an interruptible bucket."""
    with Resources.open(settings.model_copy(update=changes)) as resources:
        bucket = InterruptedBucket(resources.settings)
        yield replace(resources, bucket=bucket)
        bucket.close()


@pytest.fixture
def service(settings: Settings) -> Iterator[Resources]:
    """Return the resources of the service under test, which keeps deleted objects for a week."""
    with opened(settings, **A_WEEK) as resources:
        yield resources


def upload(resources: Resources, picture: bytes = WIDE) -> None:
    """Upload the image, including the cleanup after the response."""
    store = resources.store(resources.sessions())
    result = store.upload(io.BytesIO(picture), NAME, "jpg", lambda _: None)
    if result.old_key:
        store.remove_unless_kept(result.old_key)


def delete(resources: Resources) -> None:
    """Delete the image, including the cleanup after the response."""
    store = resources.store(resources.sessions())
    store.remove_unless_kept(store.delete(NAME, lambda _: None).s3_key)


def erase(resources: Resources) -> None:
    """Erase the image as `scripts.purge` does."""
    purge(resources.sessions, resources.bucket, NAME)


def overwrite(resources: Resources) -> None:
    """Overwrite the image."""
    upload(resources, HIGH)


def make(resources: Resources) -> Variant:
    """Make the variant."""
    store = resources.variants(resources.sessions())
    missing = store.find(NAME, CHOICE)
    assert isinstance(missing, MissingVariant)
    return store.make(missing)


def objects(resources: Resources) -> int:
    """Count the objects in the bucket."""
    return len(list(resources.bucket.list_objects()))


@pytest.mark.parametrize(("act", "kept"), [(erase, 0), (delete, 1), (overwrite, 2)])
def test_original_gone_before_the_commit(
    service: Resources, settings: Settings, act: Act, kept: int
) -> None:
    """A variant whose original is deleted meanwhile is not stored and leaves no object."""
    upload(service)
    assert isinstance(service.bucket, InterruptedBucket)
    with opened(settings, **A_WEEK) as rival:
        service.bucket.after_put = lambda: act(rival)
        assert make(service).content
    assert count(settings, "variants") == 0
    assert objects(service) == kept
    assert count(settings, "pending_objects") == (1 if kept else 0)


@pytest.mark.parametrize("act", [erase, delete, overwrite])
def test_original_locked_until_the_commit(service: Resources, settings: Settings, act: Act) -> None:
    """The original cannot be deleted or overwritten between the read of its row and the commit."""
    upload(service)
    refused: list[DatabaseUnavailableError] = []
    with opened(settings, db_statement_timeout_seconds=1.0) as impatient:

        @event.listens_for(service.engine, "after_cursor_execute")
        def interrupt(_connection: object, _cursor: object, statement: str, *_: object) -> None:
            if statement.startswith("INSERT INTO variants"):
                with pytest.raises(DatabaseUnavailableError) as refusal:
                    act(impatient)
                refused.append(refusal.value)

        make(service)
    assert len(refused) == 1
    assert count(settings, "variants") == 1


@pytest.mark.parametrize(("act", "left"), [(erase, 0), (delete, 0), (overwrite, 1)])
@pytest.mark.parametrize("variants", [(), ("160",)])
def test_variants_go_with_their_original(
    settings: Settings, act: Act, left: int, variants: tuple[str, ...]
) -> None:
    """A variant is journaled together with its original, even if variants are off by then."""
    with opened(settings) as maker:
        upload(maker)
        make(maker)
        assert objects(maker) == 2
    with Resources.open(settings.model_copy(update={"variants": variants})) as later:
        act(later)
        assert count(settings, "variants") == 0
        later.sweeper().sweep()
        assert objects(later) == left
    assert count(settings, "pending_objects") == 0


def test_purged_while_kept(service: Resources, settings: Settings) -> None:
    """Purging erases the retained objects of deletes and overwrites, including variants."""
    for picture in (WIDE, HIGH):
        upload(service, picture)
        make(service)
    delete(service)
    assert objects(service) == 4
    erase(service)
    assert objects(service) == 0
    assert count(settings, "pending_objects") == 0
