"""What one request took: kept by the request, added to by whoever waits for a backend."""

import time
from contextvars import ContextVar
from types import TracebackType

from errors import DatabaseUnavailableError, StorageUnavailableError
from telemetry.recorder import recorder


class RequestFigures:
    """What a request asked of the database and of S3, and the code of its error.

    `database` has (read or write, seconds, whether it failed) of each transaction, `s3` the same of
    each request with its operation; `s3_seconds` also holds the time that bodies took.
    """

    __slots__ = ("code", "database", "s3", "s3_seconds")

    def __init__(self) -> None:
        self.code = ""
        self.database: list[tuple[str, float, bool]] = []
        self.s3: list[tuple[str, float, bool]] = []
        self.s3_seconds = 0.0


# Threads get a copy of the context, and so the same object.
request_figures: ContextVar[RequestFigures | None] = ContextVar("request_figures", default=None)


class DatabaseTimer:
    """Times the block, which asks the database: a `read` or a `write`."""

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
        if figures := request_figures.get():
            figures.database.append((self._kind, seconds, failed))
        else:
            recorder.count_database(self._kind, seconds, failed=failed)


class S3Timer:
    """Times the block, which sends a request to S3 and waits for the head of its response."""

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
        if figures := request_figures.get():
            figures.s3_seconds += seconds
            figures.s3.append((self._operation, seconds, failed))
        else:
            recorder.count_s3(self._operation, seconds, failed=failed)


def add_s3_wait(seconds: float) -> None:
    """Add to the time that the current request, if any, waited for S3."""
    if figures := request_figures.get():
        figures.s3_seconds += seconds


def note_code(code: str) -> None:
    """Note the code with which the current request, if any, fails."""
    if figures := request_figures.get():
        figures.code = code
