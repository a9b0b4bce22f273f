"""The resources of the application and the scripts, opened and closed in one place."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Self, cast

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session, sessionmaker
from sqlalchemy.pool import QueuePool

from config import Settings
from db import build_engine, build_sessions
from imaging.decoding.variant_maker import VariantMaker
from s3_client import Bucket
from services.failed_variants import FailedVariants
from services.image_store import ImageStore, RandomImages
from services.inspection import CPU_SECONDS, Inspector
from services.maintenance.sweeper import Sweeper
from services.maintenance.verification import Verifier
from services.readiness import Readiness, ping
from services.recent_deletions import RecentDeletions
from services.variant_store import VariantStore

# Making a variant may take this many times the CPU time of an inspection.
_VARIANT_EFFORT = 6


@dataclass(frozen=True, slots=True)
class Resources:
    """The resources of the use cases. Database and bucket connect on first use."""

    settings: Settings
    engine: Engine
    sessions: sessionmaker[Session]
    bucket: Bucket
    inspector: Inspector
    variant_maker: VariantMaker
    readiness: Readiness
    random_images: RandomImages = field(default_factory=RandomImages)
    recent_deletions: RecentDeletions = field(default_factory=RecentDeletions)
    failed_variants: FailedVariants = field(default_factory=FailedVariants)
    opened_at: datetime = field(default_factory=partial(datetime.now, UTC))

    @classmethod
    @contextmanager
    def open(cls, settings: Settings) -> Iterator[Self]:
        """Yield the resources that `settings` describe. Raises ConfigurationError."""
        with ExitStack() as stack:
            engine = build_engine(settings)
            stack.callback(engine.dispose)
            sessions = build_sessions(engine)
            bucket = Bucket(settings)
            stack.callback(bucket.close)
            inspector = Inspector(settings)
            stack.callback(inspector.close)
            variant_maker = build_variant_maker(settings)
            stack.callback(variant_maker.close)
            readiness = Readiness({"database": lambda: ping(sessions()), "bucket": bucket.check})
            stack.callback(readiness.close)
            yield cls(settings, engine, sessions, bucket, inspector, variant_maker, readiness)

    def require_usable_database(self) -> None:
        """Raise ConfigurationError if the database responds but cannot hold every image name."""
        with suppress(SQLAlchemyError):
            self.engine.connect().close()

    @property
    def connections(self) -> tuple[int, int]:
        """The number of database connections in use, and the number that requests may use."""
        return cast(QueuePool, self.engine.pool).checkedout(), self.settings.threads

    def store(self, session: Session) -> ImageStore:
        """Return the use cases of images, on `session`."""
        return ImageStore(
            session,
            self.bucket,
            self.inspector,
            self.settings,
            random_images=self.random_images,
            deletions=self.recent_deletions,
        )

    def variants(self, session: Session) -> VariantStore:
        """Return the use cases of variants, on `session`."""
        return VariantStore(
            session, self.bucket, self.variant_maker, self.settings, self.failed_variants
        )

    def sweeper(self) -> Sweeper:
        """Build the sweeper, which finishes what interrupted writes left behind."""
        return Sweeper(self.sessions, self.bucket, self.settings)

    def verifier(self, *, deep: bool = False, repairs: bool = False) -> Verifier:
        """Build the verifier, which compares the bucket with the tables."""
        return Verifier(self.sessions, self.bucket, self.settings, deep=deep, repairs=repairs)


def build_variant_maker(settings: Settings) -> VariantMaker:
    """Build the maker of variants with limits that follow from `settings`."""
    return VariantMaker(
        max_pixels=settings.max_pixels,
        max_animation_pixels=settings.max_animation_pixels,
        cpu_seconds=_VARIANT_EFFORT * CPU_SECONDS,
    )
