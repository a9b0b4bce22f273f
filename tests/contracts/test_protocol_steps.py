"""A fault at each step of the write protocol, on every database, leaves the old or new image."""

import io
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import Connection, Engine, event

import db
from config import Settings
from devstack.databases import engine_for
from errors import (
    DatabaseUnavailableError,
    ImageNotFoundError,
    ServiceError,
    StorageUnavailableError,
)
from repositories import references
from resources import Resources
from s3_client import Bucket
from services.origin import HERE
from tests.conftest import CONTRACT_ENGINES
from tests.support.invariants import violations
from tests.support.pictures import png

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

pytestmark = pytest.mark.parametrize("database_url", CONTRACT_ENGINES, indirect=True)

OLD, NEW = png(seed=1), png(seed=2)
MOST_STEPS = 20


class Steps:
    """Counts the steps of an operation and selects the one that fails."""

    def __init__(self, at: int) -> None:
        self._left = at

    @property
    def struck(self) -> bool:
        """Whether the operation reached the step that fails."""
        return self._left <= 0

    def next(self) -> bool:
        """Count a step and return whether it is the one that fails."""
        self._left -= 1
        return self._left == 0


@contextmanager
def lost_before_statements(steps: Steps, engine: Engine) -> Iterator[None]:
    """Close the database connection before a statement."""

    def lose(connection: Connection, *_: Any) -> None:
        if steps.next():
            connection.connection.driver_connection.close()  # type: ignore[union-attr]

    event.listen(engine, "before_cursor_execute", lose)
    try:
        yield
    finally:
        event.remove(engine, "before_cursor_execute", lose)


@contextmanager
def lost_around_commits(steps: Steps, _engine: Engine) -> Iterator[None]:
    """Lose the connection before a COMMIT, or the answer after it."""
    real = Connection.commit

    def commit(connection: Connection) -> None:
        if steps.next():
            connection.invalidate()
            raise DatabaseUnavailableError
        real(connection)
        if steps.next():
            raise DatabaseUnavailableError

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Connection, "commit", commit)
        yield


@contextmanager
def failed_store(steps: Steps, _engine: Engine) -> Iterator[None]:
    """Make a PUT or a DELETE fail before or after it takes effect."""

    def failing(real: Callable[..., None]) -> Callable[..., None]:
        def call(*args: Any, **options: Any) -> None:
            if steps.next():
                raise StorageUnavailableError
            real(*args, **options)
            if steps.next():
                raise StorageUnavailableError

        return call

    with pytest.MonkeyPatch.context() as patched:
        for name in ("upload_image", "delete_image"):
            patched.setattr(Bucket, name, failing(getattr(Bucket, name)))
        yield


FAULTS = {
    "connection": lost_before_statements,
    "commit": lost_around_commits,
    "store": failed_store,
}


class OneImage:
    """One image, a service that writes it, and direct access to what remains."""

    def __init__(self, resources: Resources, s3: "S3Client") -> None:
        self.resources, self._s3 = resources, s3
        self._direct = engine_for(resources.settings.db_url)

    def write(self, picture: bytes | None) -> None:
        """Upload the picture, or delete the image if it is None, including the later cleanup."""
        store = self.resources.store(self.resources.sessions())
        if picture is None:
            store.remove_unless_kept(store.delete("a", lambda _: None).s3_key)
        else:
            stored = store.upload(io.BytesIO(picture), "a", "png", lambda _: None)
            if stored.old_key:
                store.remove_unless_kept(stored.old_key)

    def reset(self, picture: bytes | None) -> None:
        """Delete everything, then upload the picture unless it is None."""
        with suppress(ImageNotFoundError):
            self.write(None)
        if picture is not None:
            self.write(picture)
        self.sweep()

    def content(self) -> bytes | None:
        """Return the bytes of the image, or None if it does not exist."""
        store = self.resources.store(self.resources.sessions())
        try:
            image = store.describe("a")
        except ImageNotFoundError:
            return None
        body = store.open_object(image, 0, image.size_bytes - 1)
        assert body
        return body.read_all(image.size_bytes)

    def sweep(self) -> None:
        """Sweep as if the grace period and the horizon had passed."""
        for _ in range(2):
            report = self.resources.sweeper().sweep()
            assert not report.failed

    def check(self) -> None:
        """Assert that all objects belong to images and that the journal is empty."""
        bucket = self.resources.settings.aws_s3_bucket
        assert not violations(self._direct, self._s3, bucket)
        with db.reading(self.resources.sessions()) as connection:
            left = list(references.read_all(connection))
        assert all(reference.is_image for reference in left)


class TwoImages(OneImage):
    """Two images of the same bytes, which one batch creates."""

    def write(self, picture: bytes | None) -> None:
        """Upload the picture under both names, or delete both images if it is None."""
        store = self.resources.store(self.resources.sessions())
        if picture is not None:
            files = {name: io.BytesIO(picture) for name in "ab"}
            store.upload_new([store.prepare(files[name], name, "png", HERE) for name in files])
            return
        for name in "ab":
            with suppress(ImageNotFoundError):
                store.remove_unless_kept(store.delete(name, lambda _: None).s3_key)

    def content(self) -> bytes | None:
        """Return the bytes of both images, or None if neither exists."""
        store = self.resources.store(self.resources.sessions())
        names = [image.name for image in store.list("name", "", None, 3)]
        assert names in ([], ["a", "b"])
        return super().content()


@pytest.fixture
def image(settings: Settings, s3: "S3Client") -> Iterator[OneImage]:
    """Return the image with a service whose grace period and horizon are zero."""
    at_once: dict[str, Any] = {"upload_grace_seconds": 0, "put_horizon_seconds": 0}
    hasty = settings.model_copy(update=at_once | {"inspection": "header", "concurrency": 2})
    with ExitStack() as stack:
        yield OneImage(stack.enter_context(Resources.open(hasty)), s3)


@pytest.fixture
def both(image: OneImage, s3: "S3Client") -> TwoImages:
    """Return two images with the same service."""
    return TwoImages(image.resources, s3)


@pytest.mark.parametrize(
    ("before", "after"), [(None, NEW), (OLD, NEW), (OLD, None)], ids=["first", "over", "delete"]
)
def test_fault_at_each_step(image: OneImage, before: bytes | None, after: bytes | None) -> None:
    """A fault at any step leaves the old or the new image and no orphans.

    An acknowledged write is never lost.
    """
    fail_at_each_step(image, before, after)


def test_fault_at_each_step_of_a_batch(both: TwoImages) -> None:
    """A fault at any step leaves all images of a batch or none, and no orphans."""
    fail_at_each_step(both, None, NEW)


def fail_at_each_step(image: OneImage, before: bytes | None, after: bytes | None) -> None:
    """Write again and again, with each kind of fault at each step."""
    for fault, failing in FAULTS.items():
        for at in range(1, MOST_STEPS):
            steps = Steps(at)
            fail_once(image, before, after, failing(steps, image.resources.engine))
            if not steps.struck:
                assert at > 2, fault
                break
        else:
            pytest.fail(f"the operation has more than {MOST_STEPS} steps")


def fail_once(
    image: OneImage, before: bytes | None, after: bytes | None, fault: AbstractContextManager[None]
) -> None:
    """Write once under this fault, then check the image and everything else."""
    image.reset(before)
    acknowledged = False
    with fault, suppress(ServiceError):
        image.write(after)
        acknowledged = True
    allowed = [after] if acknowledged else [before, after]
    assert image.content() in allowed
    image.sweep()
    assert image.content() in allowed
    image.check()
