"""Measures the memory that a service and its decoders use together."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread

from devstack.service_process import ServiceProcess

_SAMPLE_INTERVAL_SECONDS = 0.01


class Peak:
    """The highest resident memory of all samples, in bytes."""

    rss_bytes = 0


@contextmanager
def memory_peak(service: ServiceProcess) -> Iterator[Peak]:
    """Sample the process tree until the block ends.

    The sum of the peaks of all processes would count memory twice that decoders use in turn.
    """
    peak, stop = Peak(), Event()

    def sample() -> None:
        while not stop.wait(_SAMPLE_INTERVAL_SECONDS):
            peak.rss_bytes = max(peak.rss_bytes, service.rss())

    sampler = Thread(target=sample)
    sampler.start()
    try:
        yield peak
    finally:
        stop.set()
        sampler.join()
