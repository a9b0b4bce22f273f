"""The metrics of one request: its waits for the database and S3, its image, and its error."""

import time
from contextvars import ContextVar
from typing import ClassVar, Literal

from errors import DatabaseUnavailableError, StorageUnavailableError
from telemetry.metrics import Wait, recorder


class RequestMetrics:
    """What a request waited for, also for bodies from S3, and the code of its error.

    `image` is the name of the image that it writes.
    """

    def __init__(self) -> None:
        self.code = self.image = ""
        self.waits: list[Wait] = []
        self.body_seconds = 0.0


# A thread runs in a copy of the context, which has the same object.
request_metrics: ContextVar[RequestMetrics | None] = ContextVar("request_metrics", default=None)


class _Timer:
    """Times a block that waits for a backend, and notes whether `failure` ended it."""

    backend: ClassVar[Literal["database", "s3"]]
    failure: ClassVar[type[Exception]]

    def __init__(self, what: str) -> None:
        self._what = what

    def __enter__(self) -> None:
        self._begun = time.perf_counter()

    def __exit__(self, _kind: object, exc: BaseException | None, _traceback: object) -> None:
        seconds = time.perf_counter() - self._begun
        wait = Wait(self.backend, self._what, seconds, isinstance(exc, self.failure))
        if metrics := request_metrics.get():
            metrics.waits.append(wait)
        else:
            recorder.count_wait(wait)


class DatabaseTimer(_Timer):
    """Times a block that uses the database: a `read` or a `write`."""

    backend, failure = "database", DatabaseUnavailableError


class S3Timer(_Timer):
    """Times a block that sends a request to S3 and waits for the head of its response."""

    backend, failure = "s3", StorageUnavailableError


def add_s3_wait(seconds: float) -> None:
    """Note that the current request, if any, waited for the body of an object."""
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
