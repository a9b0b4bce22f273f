"""The metrics of one request: its waits for the database and S3, its image, and its error."""

import time
from contextvars import ContextVar
from typing import Literal

from errors import DatabaseUnavailableError, StorageUnavailableError
from telemetry.metrics import Wait, recorder


class RequestMetrics:
    """The waits of a request, the code of its error, and the name of the image that it writes.

    `body_seconds` is the time that it waited for bodies from S3.
    """

    def __init__(self) -> None:
        self.code = self.image = ""
        self.waits: list[Wait] = []
        self.body_seconds = 0.0


_FAILURES = {"database": DatabaseUnavailableError, "s3": StorageUnavailableError}
# A thread gets a copy of the context, which refers to the same object.
request_metrics: ContextVar[RequestMetrics | None] = ContextVar("request_metrics", default=None)


class BackendTimer:
    """Times a block that waits for a backend, and notes whether the backend failed.

    An operation of the database is `read` or `write`; one of S3 ends when the response begins.
    """

    def __init__(self, backend: Literal["database", "s3"], operation: str) -> None:
        self._backend, self._operation = backend, operation

    def __enter__(self) -> None:
        self._begun = time.perf_counter()

    def __exit__(self, _kind: object, exc: BaseException | None, _traceback: object) -> None:
        seconds = time.perf_counter() - self._begun
        wait = Wait(
            self._backend, self._operation, seconds, isinstance(exc, _FAILURES[self._backend])
        )
        if metrics := request_metrics.get():
            metrics.waits.append(wait)
        else:
            recorder.count_wait(wait)


def add_s3_wait(seconds: float) -> None:
    """Add to the time that the current request, if any, waited for bodies from S3."""
    if metrics := request_metrics.get():
        metrics.body_seconds += seconds


def note_code(code: str) -> None:
    """Record the error code of the current request, if any."""
    if metrics := request_metrics.get():
        metrics.code = code


def note_image(name: str) -> None:
    """Record the name of the image that the current request, if any, writes."""
    if metrics := request_metrics.get():
        metrics.image = name
