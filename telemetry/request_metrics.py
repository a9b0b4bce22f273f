"""The metrics of one request: its waits for the database and S3, and its error."""

import time
from contextvars import ContextVar
from types import TracebackType

from errors import DatabaseUnavailableError, StorageUnavailableError
from telemetry.recorder import recorder


class RequestMetrics:
    """The waits of a request for the database and S3, and the code of its error.

    `database` lists (`read` or `write`, seconds, failed) of each transaction, and `s3` lists
    (operation, seconds, failed) of each request to S3. `s3_seconds` includes the time of bodies.
    """

    __slots__ = ("code", "database", "s3", "s3_seconds")

    def __init__(self) -> None:
        self.code = ""
        self.database: list[tuple[str, float, bool]] = []
        self.s3: list[tuple[str, float, bool]] = []
        self.s3_seconds = 0.0


# A thread runs in a copy of the context, which has the same object.
request_metrics: ContextVar[RequestMetrics | None] = ContextVar("request_metrics", default=None)


class DatabaseTimer:
    """Times a block that uses the database: a `read` or a `write`."""

    __slots__ = ("_begun", "_kind")

    def __init__(self, kind: str) -> None:
        self._kind = kind

    def __enter__(self) -> None:
        self._begun = time.perf_counter()

    def __exit__(
        self, _kind: object, exc: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        seconds = time.perf_counter() - self._begun
        failed = isinstance(exc, DatabaseUnavailableError)
        if metrics := request_metrics.get():
            metrics.database.append((self._kind, seconds, failed))
        else:
            recorder.count_database(self._kind, seconds, failed=failed)


class S3Timer:
    """Times a block that sends a request to S3 and waits for the head of its response."""

    __slots__ = ("_begun", "_operation")

    def __init__(self, operation: str) -> None:
        self._operation = operation

    def __enter__(self) -> None:
        self._begun = time.perf_counter()

    def __exit__(
        self, _kind: object, exc: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        seconds = time.perf_counter() - self._begun
        failed = isinstance(exc, StorageUnavailableError)
        if metrics := request_metrics.get():
            metrics.s3_seconds += seconds
            metrics.s3.append((self._operation, seconds, failed))
        else:
            recorder.count_s3(self._operation, seconds, failed=failed)


def add_s3_wait(seconds: float) -> None:
    """Add to the S3 wait of the current request, if any."""
    if metrics := request_metrics.get():
        metrics.s3_seconds += seconds


def note_code(code: str) -> None:
    """Record the error code of the current request, if any."""
    if metrics := request_metrics.get():
        metrics.code = code
