"""The metrics of `/metrics`, recorded with prometheus_client.

Every layer reports to `recorder`, which discards everything until the service opens it. Scripts do
not open it.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, values
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from errors import ImageLostError, OverloadedError
from telemetry.job_metrics import JobMetricsCollector
from telemetry.shared_folder import SharedFolder

_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
_REQUEST_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_BACKEND_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
# Clients may send any method, but unknown ones must not create series.
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class _Instruments:
    """The metrics of the workers. Names and labels are an interface."""

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


@contextmanager
def _named_in_environment(folder: Path) -> Iterator[None]:
    """Set PROMETHEUS_MULTIPROC_DIR only while prometheus_client creates its metrics.

    Child processes inherit the environment.
    """
    before = os.environ.get(_VARIABLE)
    os.environ[_VARIABLE] = str(folder)
    try:
        yield
    finally:
        del os.environ[_VARIABLE]
        if before is not None:
            os.environ[_VARIABLE] = before


class Recorder:
    """Records the metrics of this process in a folder that all workers share, once it is open."""

    def __init__(self) -> None:
        self._users = 0
        self._instruments: _Instruments | None = None
        self._shared: SharedFolder | None = None
        # `labels()` takes as long as counting, so its results are cached.
        self._of_request: dict[
            tuple[str, str, int], tuple[Callable[[], None], Callable[[float], None]]
        ] = {}
        self._of_backend: dict[tuple[Histogram, str], Callable[[float], None]] = {}

    @property
    def folder(self) -> Path | None:
        """The folder of the workers' metrics; None unless it is open."""
        return self._shared.path if self._shared else None

    @contextmanager
    def opened(self, chosen: Path | None) -> Iterator[None]:
        """Record metrics in `chosen`, or in a new folder, until the block ends.

        The applications of a process share them. Raises ConfigurationError.
        """
        if self._shared is None:
            self._open(SharedFolder(chosen))
        self._users += 1
        try:
            yield
        finally:
            self._users -= 1
            if not self._users:
                self._close()

    def _open(self, shared: SharedFolder) -> None:
        values.ValueClass = values.MultiProcessValue(  # type: ignore[no-untyped-call]
            lambda: shared.number
        )
        with _named_in_environment(shared.path):
            self._shared, self._instruments = shared, _Instruments()

    def _close(self) -> None:
        shared, self._shared, self._instruments = self._shared, None, None
        self._of_request.clear()
        self._of_backend.clear()
        values.close_all_multiprocess_files()  # type: ignore[no-untyped-call]
        if shared:
            shared.close()

    def note_in_progress(self, number: int) -> None:
        """Set the number of requests in progress in this process."""
        if self._instruments:
            self._instruments.in_progress.set(number)

    def count_request(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count a request. `route` is a path template, so that there are few of them."""
        if not (instruments := self._instruments):
            return
        if method not in _METHODS:
            method = "other"
        key = route, method, status
        children = self._of_request.get(key)
        if children is None:
            children = self._of_request[key] = (
                instruments.requests.labels(route, method, str(status)).inc,
                instruments.durations.labels(route, method).observe,
            )
        count, observe = children
        count()
        observe(seconds)

    def count_bytes(self, received: int, sent: int) -> None:
        """Count the bytes of a request body and of its response body."""
        if not (instruments := self._instruments):
            return
        if received:
            instruments.received.inc(received)
        if sent:
            instruments.sent.inc(sent)

    def count_code(self, code: str) -> None:
        """Count an error if its code has a metric; the status counts the others."""
        if code == OverloadedError.code and self._instruments:
            self._instruments.shed.inc()
        elif code == ImageLostError.code:
            self.count_lost_image()

    def count_upload(self, outcome: str) -> None:
        """Count an upload by its outcome."""
        if self._instruments:
            self._instruments.uploads.labels(outcome).inc()

    def count_lost_image(self) -> None:
        """Count an image whose object is missing or truncated: invariant I1 is violated."""
        if self._instruments:
            self._instruments.lost.inc()

    def count_database(self, kind: str, seconds: float, *, failed: bool) -> None:
        """Count a SELECT (`read`) or a transaction (`write`) and its duration."""
        if not (instruments := self._instruments):
            return
        self._observe(instruments.database_durations, kind, seconds)
        if failed:
            instruments.database_errors.inc()

    def count_s3(self, operation: str, seconds: float, *, failed: bool) -> None:
        """Count a request to S3 and the time until its response began, including retries."""
        if not (instruments := self._instruments):
            return
        self._observe(instruments.s3_durations, operation, seconds)
        if failed:
            instruments.s3_errors.labels(operation).inc()

    def _observe(self, durations: Histogram, label: str, seconds: float) -> None:
        key = durations, label
        observe = self._of_backend.get(key)
        if observe is None:
            observe = self._of_backend[key] = durations.labels(label).observe
        observe(seconds)

    def note_connections(self, in_use: int, limit: int) -> None:
        """Set the number of database connections in use, and how many requests may use."""
        if self._instruments:
            self._instruments.connections.labels("in_use").set(in_use)
            self._instruments.connections.labels("limit").set(limit)

    def render(self, jobs: Path | None) -> bytes:
        """Return the metrics of all workers and of the jobs that wrote to the folder `jobs`.

        The format is Prometheus's text format 0.0.4.
        """
        registry = CollectorRegistry()
        if self._shared:
            for number in self._shared.vacant_numbers():
                mark_process_dead(  # type: ignore[no-untyped-call]
                    number, str(self._shared.path)
                )
            MultiProcessCollector(  # type: ignore[no-untyped-call]
                registry, str(self._shared.path)
            )
        folders = [folder for folder in (self.folder, jobs) if folder]
        registry.register(JobMetricsCollector(folders))
        content: bytes = generate_latest(registry)
        return content


recorder = Recorder()
