"""What contracts run on: a bucket of every store.

The databases, also those that TEST_ORACLE_URL and TEST_MSSQL_URL name, are in tests/conftest.py.
"""

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
    """Return the kind of store that the test runs on."""
    return STORES[request.param]


@pytest.fixture(scope="module")
def store(kind: StoreKind, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    """Run a store, with an empty bucket `images`; its credentials are where boto3 looks."""
    folder: Path = tmp_path_factory.mktemp("store")
    with kind.run(folder) as store, pytest.MonkeyPatch.context() as environment:
        for name, value in store.environment().items():
            if "KEY" in name:
                environment.setenv(name, value)
        store.create_bucket("images")
        yield store


@pytest.fixture(scope="module")
def store_settings(store: ObjectStore) -> Settings:
    """Return the settings with which a service uses the store."""
    return Settings(
        db_url="sqlite:///unused.db",
        aws_region=store.region,
        aws_s3_bucket="images",
        aws_endpoint_url_s3=store.endpoint_url,
        s3_max_attempts=1,
    )


@pytest.fixture(scope="module")
def images(store_settings: Settings) -> Iterator[Bucket]:
    """Return our client of the bucket."""
    with closing(Bucket(store_settings)) as bucket:
        yield bucket
