"""The uvicorn that runs this application, however it was started."""

import asyncio
import logging
import signal
import threading
from types import FrameType

import uvicorn

from resources import Resources
from runtime.http_protocol import HttpProtocol
from web.date_header import DatedHeaders

logger = logging.getLogger("image_api")


def bound_connections() -> None:
    """Let the running uvicorn take its connections by `HttpProtocol`.

    Call it while the application starts: uvicorn opens its sockets afterwards. So it holds for
    uvicorn's command line, for `fastapi run`, and for every worker. Another server keeps its own
    protocol, and the log says so.
    """
    # uvicorn handles SIGTERM by a method of the server that is running.
    server = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)
    if isinstance(server, uvicorn.Server) and not server.config.http2:
        server.config.http_protocol_class = HttpProtocol
        server.config.date_header = False
        server.config.encoded_headers = DatedHeaders(server.config.encoded_headers)
    else:
        logger.warning("Not run by uvicorn: heads, idle connections and pipelining are unbounded.")


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
