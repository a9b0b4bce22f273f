"""The uvicorn that runs this application, however it was started.

How many workers it has is for its command line to say, or for WEB_CONCURRENCY. How it ends on
SIGTERM is shutdown.py.
"""

import logging
import signal

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from runtime.http_protocol import HttpProtocol

logger = logging.getLogger("image_api")


def bound_connections() -> None:
    """Let the running uvicorn take its connections by `HttpProtocol`.

    To be called while the application starts: uvicorn opens its sockets afterwards. So it holds
    for uvicorn's command, for `fastapi run`, and for every worker. A server that is not uvicorn
    keeps its own protocol, and the log says so.
    """
    # uvicorn handles SIGTERM by a method of the server that is running.
    server = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)
    chosen = server.config.http_protocol_class if isinstance(server, uvicorn.Server) else None
    if isinstance(server, uvicorn.Server) and chosen in {HttpToolsProtocol, H11Protocol}:
        server.config.http_protocol_class = HttpProtocol
    elif not (isinstance(chosen, type) and issubclass(chosen, HttpProtocol)):
        logger.warning("Not run by uvicorn: heads, idle connections and pipelining are unbounded.")
