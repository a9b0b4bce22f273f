"""The metrics of `/metrics`, recorded with prometheus_client.

Every layer reports to `recorder`. Until it is opened, it counts in memory, where nothing reads it.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, NamedTuple

from prometheus_client import Counter, Gauge, Histogram, generate_latest, values
from prometheus_client.core import Metric
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from errors import ImageLostError, OverloadedError
from telemetry import logger
from telemetry.job_metrics import Families, read_jobs
from telemetry.shared_folder import SharedFolder

_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
_REQUEST_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_BACKEND_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
# Clients may send any method, but unknown ones must not create series.
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Wait(NamedTuple):
    """The time of a SELECT (`read`) or transaction (`write`), or until S3 began to respond."""

    backend: Literal["database", "s3"]
    operation: str
    seconds: float
    failed: bool


class _Instruments:
    """The metrics of a worker. Alarms and dashboards depend on their names and labels."""

    def __init__(self) -> None:
        self.requests = _counter("requests", "Requests by route and status", "route method status")
        self.durations = _histogram(
            "request_duration_seconds", "Until the response ended", "route method", _REQUEST_SECONDS
        )
        self.in_progress = _gauge("requests_in_progress", "Requests in progress")
        self.shed = _counter("requests_shed", "Requests answered 503 overloaded")
        self.s3_durations = _histogram(
            "s3_request_duration_seconds", "Until S3 responded", "operation", _BACKEND_SECONDS
        )
        self.s3_errors = _counter("s3_errors", "Failed requests to S3", "operation")
        self.database_durations = _histogram(
            "database_duration_seconds", "Time of a SELECT or transaction", "kind", _BACKEND_SECONDS
        )
        for kind in ("read", "write"):
            self.database_durations.labels(kind)
        self.database_errors = _counter("database_errors", "Failed SELECTs and transactions")
        self.connections = _gauge("database_connections", "Pool connections, each second", "state")
        self.uploads = _counter("uploads", "Uploads by outcome", "outcome")
        self.received = _counter("received_bytes", "Bytes of request bodies")
        self.sent = _counter("sent_bytes", "Bytes of response bodies")
        self.lost = _counter("images_lost", "Images whose object was missing or truncated")


def _counter(name: str, meaning: str, labels: str = "") -> Counter:
    return Counter(f"image_api_{name}", meaning, labels.split(), registry=None)


def _gauge(name: str, meaning: str, labels: str = "") -> Gauge:
    return Gauge(
        f"image_api_{name}", meaning, labels.split(), registry=None, multiprocess_mode="livesum"
    )


def _histogram(name: str, meaning: str, labels: str, buckets: tuple[float, ...]) -> Histogram:
    return Histogram(f"image_api_{name}", meaning, labels.split(), buckets=buckets, registry=None)


class Recorder:
    """Records the metrics of this process, in a folder that all workers share once it is open."""

    def __init__(self) -> None:
        self._users = 0
        self._reported_loss = False
        self._shared: SharedFolder | None = None
        self._count_in_memory()

    def _count_in_memory(self) -> None:
        values.ValueClass = values.MutexValue
        self._instruments = _Instruments()

    @property
    def folder(self) -> Path | None:
        """The folder of the workers' metrics; None unless it is open."""
        return self._shared.path if self._shared else None

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Record metrics in a folder that the workers share until the block ends.

        The folder is PROMETHEUS_MULTIPROC_DIR, a variable of prometheus_client, or a new one. All
        applications of the process use the same one. Raises ConfigurationError.
        """
        if self._shared is None:
            chosen = os.environ.get(_VARIABLE)
            self._shared = SharedFolder(Path(chosen) if chosen else None)
            self._count_in(self._shared)
        self._users += 1
        try:
            yield
        finally:
            self._users -= 1
            if not self._users:
                self._close(self._shared)

    def _count_in(self, shared: SharedFolder) -> None:
        values.ValueClass = values.MultiProcessValue(  # type: ignore[no-untyped-call]
            lambda: shared.number
        )
        # Only while prometheus_client opens its files: child processes inherit the environment.
        before = os.environ.get(_VARIABLE)
        os.environ[_VARIABLE] = str(shared.path)
        try:
            self._instruments = _Instruments()
        finally:
            del os.environ[_VARIABLE]
            if before is not None:
                os.environ[_VARIABLE] = before

    def _close(self, shared: SharedFolder) -> None:
        self._shared = None
        self._count_in_memory()
        values.close_all_multiprocess_files()  # type: ignore[no-untyped-call]
        shared.close()

    def note_in_progress(self, number: int) -> None:
        """Set the number of requests in progress in this process."""
        self._instruments.in_progress.set(number)

    def count_request(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count a request. `route` is a path template, so that there are few series."""
        if method not in _METHODS:
            method = "other"
        self._instruments.requests.labels(route, method, str(status)).inc()
        self._instruments.durations.labels(route, method).observe(seconds)

    def count_bytes(self, received: int, sent: int) -> None:
        """Count the bytes of a request body and of its response body."""
        self._instruments.received.inc(received)
        self._instruments.sent.inc(sent)

    def count_code(self, code: str) -> None:
        """Count an error if its code has a metric; the status counts the others."""
        if code == OverloadedError.code:
            self._instruments.shed.inc()
        elif code == ImageLostError.code:
            self.count_lost_image()

    def count_upload(self, outcome: str) -> None:
        """Count an upload by its outcome."""
        self._instruments.uploads.labels(outcome).inc()

    def count_lost_image(self) -> None:
        """Count an image whose object is missing or truncated, which violates invariant I1."""
        self._instruments.lost.inc()

    def count_wait(self, wait: Wait) -> None:
        """Count a wait for the database or S3, and its duration."""
        if wait.backend == "database":
            self._instruments.database_durations.labels(wait.operation).observe(wait.seconds)
            if wait.failed:
                self._instruments.database_errors.inc()
        else:
            self._instruments.s3_durations.labels(wait.operation).observe(wait.seconds)
            if wait.failed:
                self._instruments.s3_errors.labels(wait.operation).inc()

    def note_connections(self, in_use: int, limit: int) -> None:
        """Set how many database connections are in use, and how many may be."""
        self._instruments.connections.labels("in_use").set(in_use)
        self._instruments.connections.labels("limit").set(limit)

    def render(self, jobs: Path | None) -> bytes:
        """Return the metrics of all workers, and of the jobs that wrote to the folder `jobs`.

        They are in Prometheus's text format 0.0.4.
        """
        families = read_jobs([folder for folder in (self.folder, jobs) if folder])
        if self._shared:
            families = [*self._collect(self._shared), *families]
        content: bytes = generate_latest(Families(families))
        return content

    def _collect(self, shared: SharedFolder) -> Iterable[Metric]:
        """Add up the metrics of all workers; return those of this one if the folder is gone."""
        if not shared.is_intact():
            if not self._reported_loss:
                logger.error("Files in %s were removed: /metrics covers one worker", shared.path)
            self._reported_loss = True
            return [family for one in vars(self._instruments).values() for family in one.collect()]
        folder = str(shared.path)
        for number in shared.vacant_numbers():
            mark_process_dead(number, folder)  # type: ignore[no-untyped-call]
        workers = MultiProcessCollector(None, folder)  # type: ignore[no-untyped-call]
        return list(workers.collect())  # type: ignore[no-untyped-call]


recorder = Recorder()
