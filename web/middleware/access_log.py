"""Metrics and the access log: one observation for each request."""

import asyncio
import logging
import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from config import Settings
from errors import (
    InvalidNameError,
    OutOfResourcesError,
    ServiceError,
    StorageUnavailableError,
)
from services.names import normalise_name
from telemetry.metrics import recorder
from telemetry.request_id import current_request_id
from telemetry.request_waits import RequestMetrics, request_metrics
from web.caller import caller
from web.exhaustion import exhaustion
from web.routed_path import match_route

access_logger = logging.getLogger("image_api.access")

_CLIENT_LEFT = 499  # the status that nginx logs when a client disconnects
_ABORTING = frozenset({StorageUnavailableError.code, OutOfResourcesError.code})
_UPLOADS = frozenset({("POST", "/images"), ("PUT", "/images/{name}")})
_BODILESS = frozenset({"GET", "HEAD", "OPTIONS"})
# Counting and logging many requests together takes a third of the CPU of doing so one by one.
_BATCH_SECONDS = 0.05


class ObservationMiddleware:
    """Counts, times and logs all requests, including refused ones, without queries or headers."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request, and observe it until it ends."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        observer: Observer = scope["state"]["observer"]
        exchange = _Exchange(receive, send)
        request_metrics.set(exchange)
        observer.in_progress += 1
        try:
            if scope["method"] not in _BODILESS:
                receive = exchange.receive
            await self.app(scope, receive, exchange.send)
        except Exception as exc:
            exchange.fail(exc)
            raise
        finally:
            observer.in_progress -= 1
            exchange.end(scope)
            observer.note(exchange)


class Observer:
    """Counts and logs requests in batches, shortly after they end.

    `in_progress` is the number of requests that have not ended.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.in_progress = 0
        self._ended: list[_Exchange] = []

    def note(self, exchange: "_Exchange") -> None:
        """Note that a request has ended."""
        self._ended.append(exchange)
        if len(self._ended) == 1:
            asyncio.get_running_loop().call_later(_BATCH_SECONDS, self.flush)

    def flush(self) -> None:
        """Count and log the requests that have ended."""
        ended, self._ended = self._ended, []
        recorder.note_in_progress(self.in_progress)
        for exchange in ended:
            exchange.count()
        if self._settings.access_log and ended:
            for exchange in ended:
                access_logger.handle(exchange.line())
            for handler in logging.getLogger().handlers:
                handler.flush()


class _Exchange(RequestMetrics):
    """A request and its response as they pass."""

    def __init__(self, receive: Receive, send: Send) -> None:
        super().__init__()
        self._begun = time.perf_counter()
        self._receive, self._send = receive, send
        self._status = self._received = self._sent = 0
        self._complete = self._left = False
        self._upload = b""

    async def receive(self) -> Message:
        """Receive the next part of the request."""
        message = await self._receive()
        if message["type"] == "http.request":
            self._received += len(message.get("body", b""))
        elif not self._status:
            self._left = True
        return message

    async def send(self, message: Message) -> None:
        """Send the next part of the response."""
        await self._send(message)
        if message["type"] == "http.response.start":
            self._status = message["status"]
            if self._received and self._status in {200, 201}:
                self._upload = dict(message["headers"]).get(b"upload-result", b"")
        else:
            self._sent += len(message.get("body", b""))
            self._complete = not message.get("more_body", False)

    def fail(self, exc: Exception) -> None:
        """Note an error that ended the request without a response."""
        error = exhaustion(exc) or ServiceError
        self._status, self.code, self._complete = error.status, error.code, True

    def end(self, scope: Scope) -> None:
        """Keep what is counted and logged, and release the rest."""
        self._ended = time.time()
        self._seconds = time.perf_counter() - self._begun
        del self._receive, self._send  # and with them the connection
        self._method, self._route = scope["method"], _route(scope)
        self._request_id, self._caller = current_request_id(), caller.get().name
        if self._method not in _BODILESS:
            self.image = self.image or _image(scope)
        if self._method == "HEAD":
            self._sent = 0  # the server leaves the body out
        self._left |= scope["state"].get("client_left", False)
        # The response may have ended otherwise than it began.
        if self._left or not (self._complete or self.code in _ABORTING):
            self._status = _CLIENT_LEFT
        elif not self._complete:
            self._status = 503

    def count(self) -> None:
        """Add the request to the metrics."""
        recorder.count_request(self._route, self._method, self._status, self._seconds)
        recorder.count_bytes(self._received, self._sent)
        for wait in self.waits:
            recorder.count_wait(wait)
        if self.code:
            recorder.count_code(self.code)
        if (self._method, self._route) in _UPLOADS:
            recorder.count_upload(self._upload.decode() or _failure(self._status))

    def line(self) -> logging.LogRecord:
        """Return the line of the access log."""
        waited = {"database": 0.0, "s3": self.body_seconds}
        for wait in self.waits:
            waited[wait.backend] += wait.seconds
        fields = {
            "method": self._method,
            "route": self._route,
            "status": self._status,
            "code": self.code or None,
            "bytes_in": self._received,
            "bytes_out": self._sent,
            "duration_ms": round(1000 * self._seconds, 3),
            "database_ms": round(1000 * waited["database"], 3),
            "s3_ms": round(1000 * waited["s3"], 3),
            "key": self._caller,
            "image": self.image or None,
        }
        return logging.makeLogRecord(
            {
                "name": access_logger.name,
                "levelno": logging.INFO,
                "levelname": "INFO",
                "created": self._ended,
                "msecs": self._ended % 1 * 1000,
                "msg": f"{self._method} {self._route} {self._status}",
                "request_id": self._request_id,
                "fields": fields,
            }
        )


def _failure(status: int) -> str:
    if status == _CLIENT_LEFT:
        return "aborted"
    return "failed" if status >= 500 else "refused"


def _route(scope: Scope) -> str:
    """Return the template of the route: with paths, clients could create any number of series."""
    route = scope.get("route")  # None if the request was refused before routing
    return match_route(scope)[0] if route is None else str(route.path)


def _image(scope: Scope) -> str:
    """Return the normalised name of the image in the path of a request, or ""."""
    try:
        return normalise_name(match_route(scope)[1].get("name", ""))
    except InvalidNameError:
        return ""
