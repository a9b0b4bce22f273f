"""How much memory a service and its decoders take at the same time."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread

from devstack.service_process import ServiceProcess

_LOOKS_EVERY_SECONDS = 0.01


class Peak:
    """The most that was seen, in bytes of resident memory."""

    seen = 0


@contextmanager
def memory_peak(service: ServiceProcess) -> Iterator[Peak]:
    """Watch the process tree until the block ends.

    The sum of each process's own peak would count what one decoder takes after the other twice.
    """
    peak, stop = Peak(), Event()

    def watch() -> None:
        while not stop.wait(_LOOKS_EVERY_SECONDS):
            peak.seen = max(peak.seen, service.rss())

    watcher = Thread(target=watch)
    watcher.start()
    try:
        yield peak
    finally:
        stop.set()
        watcher.join()
