"""What happens on SIGTERM."""

import asyncio
import signal
import threading
from types import FrameType

from resources import Resources


def delay_shutdown(resources: Resources) -> None:
    """On SIGTERM let readiness fail at once, and the server stop SHUTDOWN_DELAY_SECONDS later.

    So a load balancer looks elsewhere before connections are refused.
    """
    delay = resources.settings.shutdown_delay_seconds
    stop_server = signal.getsignal(signal.SIGTERM)
    if threading.current_thread() is not threading.main_thread() or not callable(stop_server):
        return

    def shut_down(signum: int, frame: FrameType | None) -> None:
        resources.readiness.shutting_down = True
        # Timers run in the event loop, between callbacks: it is safe to do there what the
        # server's own handler does.
        loop.call_soon_threadsafe(loop.call_later, delay, stop_server, signum, frame)

    loop = asyncio.get_running_loop()
    if delay:
        signal.signal(signal.SIGTERM, shut_down)
