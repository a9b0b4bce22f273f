"""The benchmarks measure what they say."""

import io
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from PIL import Image

from benchmarks import measure, python_load
from benchmarks.deployment import Deployment
from benchmarks.load import Load, Slot
from benchmarks.measure import Case, Measurement
from benchmarks.peers import PLAIN, THUMBOR
from benchmarks.pictures import PICTURES, picture, similarity
from benchmarks.results import Result
from benchmarks.scenarios import COMPARED_READS, COMPARED_WRITES
from benchmarks.stack import OURS, Setting, Stack, cpu_seconds
from benchmarks.workloads import ROWS
from devstack.server_process import ServerProcess
from devstack.waiting import free_port

MEASURED = Measurement(
    requests_per_second=1, mb_per_second=1, p50_ms=1, p99_ms=1, cpu_ms=1, switches=1, errors=0
)
# A server that starts after its child has used half a second of CPU and ended.
BUSY_CHILD = """
import http.server, subprocess, sys
burn = "import time\\nwhile time.process_time() < 0.5: pass"
subprocess.run([sys.executable, "-c", burn], check=True)
http.server.test(http.server.SimpleHTTPRequestHandler, bind="127.0.0.1", port=int(sys.argv[1]))
"""


def test_ended_children() -> None:
    """The CPU of a service includes that of its processes that have ended."""
    port = free_port()
    command = [sys.executable, "-c", BUSY_CHILD, str(port)]
    with ServerProcess(command, {}, port, probe="/") as process:
        assert cpu_seconds(process) >= 0.5


@pytest.mark.parametrize("service", [OURS, PLAIN])
def test_same_requests(service: str) -> None:
    """The service and the plain one answer each compared request with the same status."""
    setting = Setting(service=service)
    with ExitStack() as ends:
        stack = Stack(ends)
        bucket = ends.enter_context(stack.bucket())
        url = stack.database(setting.engine, setting.images)
        process = ends.enter_context(stack.service(url, bucket, setting))
        deployment = Deployment(stack, setting, process, bucket)
        for name in [*COMPARED_READS, *COMPARED_WRITES]:
            row = ROWS[name]
            if row.seed:
                assert measure._request(row.seed(deployment)).status == 201
            assert measure._request(row.load(deployment)).status == row.status, name


class Recorder(BaseHTTPRequestHandler):
    """Remembers the paths of the requests."""

    protocol_version = "HTTP/1.1"
    paths: list[str]

    def do_GET(self) -> None:
        """Record a request."""
        self.paths.append(self.path)
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Be silent."""


@pytest.fixture
def recorder() -> Iterator[tuple[str, list[str]]]:
    """Serve, and yield the address and the paths of the requests."""
    paths: list[str] = []
    handler = type("Handler", (Recorder,), {"paths": paths})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever).start()
        yield f"http://127.0.0.1:{server.server_port}", paths
        server.shutdown()


def test_each_once(recorder: tuple[str, list[str]]) -> None:
    """A cold variant is requested once: no picture is asked for twice."""
    base_url, paths = recorder
    load = Load(base_url, ((b"/", Slot.SERIAL),))
    python_load.run_once(load, range(1, 3))
    summary = python_load.run_once(load, range(3, 6))
    assert summary.requests == 3
    assert paths == [f"/{number:016d}" for number in range(1, 6)]


def test_ratio_within_passes() -> None:
    """The ratio to a peer is the median of the ratios within each pass, as the machine drifts."""
    ours = Case("metadata", 16, Setting())
    plain = replace(ours, setting=Setting(service=PLAIN))
    passes = [
        {ours: replace(MEASURED, cpu_ms=drift), plain: replace(MEASURED, cpu_ms=drift * times)}
        for drift, times in ((1, 2), (10, 4), (3, 8))
    ]
    assert Result.of(ours, passes).to_peers == {PLAIN: 0.25}
    assert not Result.of(plain, passes).to_peers
    assert THUMBOR not in Result.of(ours, passes).to_peers


def encoded(small: Image.Image, **options: object) -> bytes:
    """Return a picture as a WebP."""
    file = io.BytesIO()
    small.save(file, "WEBP", **options)
    return file.getvalue()


@pytest.mark.parametrize("name", PICTURES)
def test_similarity(name: str) -> None:
    """A variant by Lanczos is equal to the reference, and a stronger compression less so."""
    with Image.open(io.BytesIO(picture(name))) as opened:
        whole = opened.convert("RGBA").convert("RGBa")
    small = whole.resize((160, 120), Image.Resampling.LANCZOS).convert("RGBA")
    lossless = similarity(name, encoded(small, lossless=True, exact=True))
    fine, coarse = (similarity(name, encoded(small, quality=quality)) for quality in (90, 20))
    assert lossless == pytest.approx(1, abs=1e-3)
    assert lossless > fine > coarse > 0
