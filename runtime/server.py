"""The running uvicorn: its connections use HttpProtocol, and SIGTERM stops it after a delay."""

import asyncio
import re
import signal
import threading
from types import FrameType

import uvicorn

from errors import ConfigurationError
from resources import Resources
from runtime.http_protocol import HttpProtocol
from telemetry import logger
from web.date_header import DatedHeaders

# Without a query and percent-encoding (RFC 3986 section 3.3): addresses contain it as it is.
_ROOT_PATH = re.compile(r"(?:/[\w.~!$&'()*+,;=:@-]+)*", re.ASCII)


def normalise_root_path() -> None:
    """Give the running uvicorn's `--root-path` one slash at the beginning and none at the end.

    Raises ConfigurationError if it is not the path of a URL.
    """
    if server := _running_server():
        given = server.config.root_path
        path = f"/{given.strip('/')}".rstrip("/")
        if not _ROOT_PATH.fullmatch(path):
            raise ConfigurationError(f"--root-path needs a path such as /photos, not {given!r}.")
        server.config.root_path = path


def limit_connections() -> None:
    """Make the running uvicorn use `HttpProtocol` for its connections.

    The application calls this at startup, before uvicorn opens its sockets, so it works with any
    options of uvicorn and in every worker. Logs a warning if another server is running.
    """
    server = _running_server()
    if server and not server.config.http2:
        server.config.http_protocol_class = HttpProtocol
        server.config.date_header = False
        server.config.encoded_headers = DatedHeaders(server.config.encoded_headers)
    else:
        logger.warning("Not run by uvicorn: heads, idle connections and pipelining are unbounded.")


def count_workers() -> int:
    """Return the number of uvicorn's workers, 1 if another server is running."""
    server = _running_server()
    return server.config.workers if server else 1


def _running_server() -> uvicorn.Server | None:
    # uvicorn handles SIGTERM with a method of the running server.
    server = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)
    return server if isinstance(server, uvicorn.Server) else None


def delay_shutdown(resources: Resources) -> None:
    """On SIGTERM, fail readiness at once and stop the server after SHUTDOWN_DELAY_SECONDS.

    In between, the load balancer stops sending requests.
    """
    delay = resources.settings.shutdown_delay_seconds
    stop_server = signal.getsignal(signal.SIGTERM)
    if threading.current_thread() is not threading.main_thread() or not callable(stop_server):
        return

    def shut_down(signum: int, frame: FrameType | None) -> None:
        resources.readiness.shutting_down = True
        # The server's own handler is safe to call from the event loop.
        loop.call_soon_threadsafe(loop.call_later, delay, stop_server, signum, frame)

    loop = asyncio.get_running_loop()
    if delay:
        signal.signal(signal.SIGTERM, shut_down)
