"""Fixtures for the contract tests: a bucket on every store."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from config import Settings
from devstack.object_store import ObjectStore
from s3_client import Bucket
from tests.support.stores import STORES, StoreKind, chosen_stores


@pytest.fixture(scope="module", params=chosen_stores())
def kind(request: pytest.FixtureRequest) -> StoreKind:
    """Return the kind of the store; the tests run once per store."""
    return STORES[request.param]


@pytest.fixture(scope="module")
def store(kind: StoreKind, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    """Run a store with an empty bucket `images`, and export its credentials."""
    folder: Path = tmp_path_factory.mktemp("store")
    with kind.run(folder) as store, pytest.MonkeyPatch.context() as environment:
        for name, value in store.environment().items():
            if "KEY" in name:
                environment.setenv(name, value)
        store.create_bucket("images")
        yield store


@pytest.fixture(scope="module")
def store_settings(store: ObjectStore) -> Settings:
    """Return the settings of a service that uses this store."""
    return Settings(
        db_url="sqlite:///unused.db",
        aws_region=store.region,
        aws_s3_bucket="images",
        aws_endpoint_url_s3=store.endpoint_url,
        s3_max_attempts=1,
    )


@pytest.fixture(scope="module")
def images(store_settings: Settings) -> Iterator[Bucket]:
    """Return the service's client of the bucket."""
    with closing(Bucket(store_settings)) as bucket:
        yield bucket
