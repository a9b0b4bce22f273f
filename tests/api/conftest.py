"""Fixtures shared by the tests of the HTTP interface."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

from devstack.object_store import ObjectStore
from tests.support.metered_service import MeteredService, metered_service

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


@pytest.fixture(scope="module")
def metered(
    object_store: ObjectStore, s3: "S3Client", new_bucket: Callable[[], str]
) -> Iterator[MeteredService]:
    """Return a running service whose S3 requests are counted."""
    with metered_service(object_store, s3, new_bucket(), LINK_SECRETS="s" * 32) as service:
        yield service
