"""The service sends spans to an OpenTelemetry collector, and loads no SDK without OTEL_*."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from devstack.service_process import ServiceProcess
from devstack.waiting import wait_until
from tests.support import pictures
from tests.support.uploads import upload

TRACE = "0af7651916cd43dd8448eb211c80319c"
on_postgresql = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)


class Collector(HTTPServer):
    """A collector that receives spans by OTLP over HTTP."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.spans: list[Span] = []

    @property
    def url(self) -> str:
        """The collector's endpoint."""
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        """Receive a batch of spans."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        batch = ExportTraceServiceRequest.FromString(body)
        for resource in batch.resource_spans:
            for scope in resource.scope_spans:
                self.server.spans.extend(scope.spans)
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@pytest.fixture
def collector() -> Iterator[Collector]:
    """Run a collector."""
    with Collector() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def kind(span: Span) -> str:
    """Return the span's name, of a statement `SELECT` without the database's name."""
    return "SELECT" if span.name.startswith("SELECT") else span.name


@on_postgresql
def test_spans(service_environment: dict[str, str], collector: Collector) -> None:
    """A request, its statements and its S3 requests are spans of the caller's trace."""
    wanted = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        "OTEL_EXPORTER_OTLP_COMPRESSION": "none",
        "OTEL_BSP_SCHEDULE_DELAY": "100",
    }
    with (
        ServiceProcess(service_environment | wanted) as service,
        httpx.Client(base_url=service.base_url) as client,
    ):
        assert upload(client, pictures.png(), name="a").status_code == 201
        client.get("/images/a", headers={"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"})
        client.get("/metrics")

        def ours() -> list[Span]:
            return [span for span in collector.spans if span.trace_id.hex() == TRACE]

        wait_until(
            lambda: {"GET", "SELECT", "GET /images/{name}"} <= {kind(span) for span in ours()},
            timeout=20,
            what="the spans",
        )
        spans = {kind(span): span for span in ours()}
    request = spans["GET /images/{name}"]
    assert request.kind == Span.SPAN_KIND_SERVER
    assert request.parent_span_id.hex() == "b7ad6b7169203331"
    statement = spans["SELECT"]
    assert "FROM images" in str(statement)
    storage = spans["GET"]
    assert storage.kind == Span.SPAN_KIND_CLIENT
    assert {statement.trace_id, storage.trace_id} == {request.trace_id}
    exported = "".join(map(str, collector.spans))
    assert "Signature" not in exported
    assert service_environment["AWS_SECRET_ACCESS_KEY"] not in exported
    assert not [
        span for span in collector.spans if span.name.endswith(("/metrics", "/health/live"))
    ]
