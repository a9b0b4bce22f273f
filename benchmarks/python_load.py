"""A load generator with Python threads: for warm-ups, single requests, and if wrk is missing.

It uses many times the CPU of wrk, so on few cores it slows down what it measures.
"""

import http.client
import math
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import count
from urllib.parse import urlsplit

from benchmarks.load import Load, Summary


@dataclass(slots=True)
class _Tally:
    """The results of all threads."""

    latencies_ms: list[float] = field(default_factory=list)
    errors: int = 0


def run(load: Load, clients: int, seconds: float) -> Summary:
    """Send `load` for `seconds` from one thread per client."""
    tally, numbers = _Tally(), count()
    began = time.monotonic()
    threads = [
        threading.Thread(target=_send, args=(load, numbers, tally, began + seconds), daemon=True)
        for _ in range(clients)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(seconds + 60)
    return _summary(tally, time.monotonic() - began)


def run_once(load: Load, numbers: Iterable[int]) -> Summary:
    """Send the requests with these numbers as one client, each once."""
    tally = _Tally()
    began = time.monotonic()
    _send(load, numbers, tally, math.inf)
    return _summary(tally, time.monotonic() - began)


def _summary(tally: _Tally, elapsed: float) -> Summary:
    ordered = sorted(tally.latencies_ms) or [0.0]
    p50, p99 = (ordered[int(part * (len(ordered) - 1))] for part in (0.5, 0.99))
    return Summary(len(tally.latencies_ms), elapsed, tally.errors, p50, p99)


def _send(load: Load, numbers: Iterable[int], tally: _Tally, deadline: float) -> None:
    """Send requests as one client until they or the time end."""
    connection = http.client.HTTPConnection(urlsplit(load.base_url).netloc, timeout=20)
    for number in numbers:
        if time.monotonic() >= deadline:
            break
        path, body = load.request(number)
        began = time.perf_counter()
        try:
            connection.request(load.method, path, body or None, load.headers)
            response = connection.getresponse()
            response.read()
            failed = response.status >= http.HTTPStatus.BAD_REQUEST
        except (OSError, http.client.HTTPException):
            connection.close()
            failed = True
        tally.errors += failed
        tally.latencies_ms.append((time.perf_counter() - began) * 1000)
    connection.close()
