"""Waits are recorded with their request, from any thread."""

from collections.abc import Iterator
from contextvars import copy_context

import pytest

from errors import DatabaseUnavailableError, StorageUnavailableError
from telemetry.request_waits import (
    BackendTimer,
    RequestMetrics,
    add_s3_wait,
    note_code,
    request_metrics,
)


@pytest.fixture
def metrics() -> Iterator[RequestMetrics]:
    """Begin a request."""
    metrics = RequestMetrics()
    token = request_metrics.set(metrics)
    yield metrics
    request_metrics.reset(token)


def test_waits(metrics: RequestMetrics) -> None:
    """A wait records its backend, its operation, and whether it failed."""
    with BackendTimer("database", "read"):
        pass
    with pytest.raises(StorageUnavailableError), BackendTimer("s3", "put"):
        raise StorageUnavailableError
    found = [(wait.backend, wait.operation, wait.failed) for wait in metrics.waits]
    assert found == [("database", "read", False), ("s3", "put", True)]
    assert all(wait.seconds > 0 for wait in metrics.waits)


def test_other_errors(metrics: RequestMetrics) -> None:
    """Another backend's error does not count as a failure."""
    with pytest.raises(DatabaseUnavailableError), BackendTimer("s3", "get"):
        raise DatabaseUnavailableError
    assert [wait.failed for wait in metrics.waits] == [False]


def test_other_threads(metrics: RequestMetrics) -> None:
    """A thread that runs in a copy of the context records waits with the same request."""
    context = copy_context()
    context.run(add_s3_wait, 0.5)
    context.run(add_s3_wait, 0.25)
    context.run(note_code, "image_lost")
    assert (metrics.body_seconds, metrics.code) == (0.75, "image_lost")


def test_outside_of_requests() -> None:
    """Outside of requests, as in the sweeper, nothing is recorded and nothing fails."""
    add_s3_wait(1)
    note_code("image_lost")
    with BackendTimer("database", "write"):
        pass
    assert request_metrics.get() is None
