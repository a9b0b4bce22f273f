"""Many expensive uploads at once, valid and hostile: reads continue, and memory stays bounded."""

import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from statistics import quantiles
from threading import Event

import httpx

from devstack.service_process import ServiceProcess
from devstack.waiting import wait_until
from tests.support import pictures
from tests.support.hostile_pictures import HOSTILE
from tests.support.memory import memory_peak
from tests.support.uploads import on_sqlite, upload

pytestmark = on_sqlite
_MEGABYTE = 1024 * 1024
_HOSTILE = [
    "second frame of 65,535 squared.gif",
    "99 scans of 50 megapixels.jpg",
    "12 million empty segments.jpg",
    "24 million sub-blocks of a comment.gif",
    "2 GB of inflated pixels.png",
    "5 flat frames of 50 megapixels.gif",
    "5 flat frames of 50 megapixels.webp",
    "nothing but fill bytes.jpg",
]


def _costly() -> Iterator[tuple[str, bytes]]:
    """Yield name and content of four valid pictures of 50 megapixels and eight hostile ones."""
    large = pictures.picture(272, 184).resize((8640, 5787))
    yield "progressive.jpg", pictures.encoded(large, "JPEG", progressive=True)
    yield "lossless.webp", pictures.encoded(large, "WEBP", lossless=True, quality=0, method=0)
    yield "quantized.gif", pictures.encoded(large.quantize(64, method=2), "GIF")
    yield "plain.png", pictures.encoded(large, "PNG", compress_level=1)
    for name in _HOSTILE:
        yield name, HOSTILE[name][0]()


def _durations(client: httpx.Client, path: str, stop: Event) -> list[float]:
    """Send GET requests one after another until `stop`; return their durations in seconds."""
    durations = []
    while not stop.is_set():
        start = time.monotonic()
        assert client.get(path).status_code == 200
        durations.append(time.monotonic() - start)
    return durations


def test_costly_uploads(service: ServiceProcess) -> None:
    """16 expensive uploads get their usual answers, reads continue, and memory is released."""
    uploads = list(_costly())
    uploads += uploads[:4]
    with (
        httpx.Client(base_url=service.base_url, timeout=120) as client,
        ThreadPoolExecutor(len(uploads) + 3) as threads,
        memory_peak(service) as peak,
    ):
        assert upload(client, pictures.png(), "small.png").status_code == 201
        rest, stop = service.rss(), Event()
        reads = [
            threads.submit(_durations, client, path, stop)
            for path in ("/health/live", "/images/small/metadata", "/images/small")
        ]
        answers: list[tuple[str, Future[httpx.Response]]] = [
            (name, threads.submit(upload, client, content, name, str(number)))
            for number, (name, content) in enumerate(uploads)
        ]
        for name, answer in answers:
            accepted = name not in HOSTILE or HOSTILE[name][1] == "accepted"
            assert (answer.result().status_code == 201) == accepted, answer.result().text
        stop.set()
        assert peak.rss_bytes < 600 * _MEGABYTE
        # Liveness took at most 0.2 s on an idle machine, and much more beside another test.
        assert all(quantiles(read.result(), n=100)[98] < 1 for read in reads)
        back = lambda: service.rss() < rest + 30 * _MEGABYTE  # noqa: E731
        wait_until(back, timeout=20, what="the memory to be released")
