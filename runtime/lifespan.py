"""How the process begins and ends: logging, a wrong configuration, sweeping, SIGTERM."""

import asyncio
import gc
import logging
import signal
import sys
import threading
from types import FrameType

from fastapi import FastAPI
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from errors import ConfigurationError
from services.sweeper import Sweeper, sweep_until
from web.middleware.request_id import RequestIdFilter

_NEW_OBJECTS_PER_COLLECTION = 5000  # Python's default is 700


class OneSentenceStartupError:
    """Lets a wrong configuration stop the start with its sentence instead of a stack trace."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass everything on but the reason why the start failed."""
        if scope["type"] != "lifespan":
            await self.app(scope, receive, send)
            return

        async def send_sentence(message: Message) -> None:
            if message["type"] == "lifespan.startup.failed":
                cause = sys.exception()
                if isinstance(cause, ConfigurationError):
                    message["message"] = cause.detail
            await send(message)

        await self.app(scope, receive, send_sentence)


def log_to_stderr() -> None:
    """Log with request ids, unless whoever runs us has set up logging."""
    logger = logging.getLogger("image_api")
    if logging.getLogger().handlers or logger.handlers:
        return
    handler = logging.StreamHandler()
    handler.addFilter(RequestIdFilter())
    handler.setFormatter(
        logging.Formatter("%(asctime)s %(levelname)s [%(request_id)s] %(message)s")
    )
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)


def sweep_in_background(app: FastAPI) -> threading.Event:
    """Sweep as often as the settings say, until the event that is returned is set."""
    stop = threading.Event()
    if interval := app.state.settings.sweep_interval_seconds:
        sweeper = Sweeper(app.state.sessions, app.state.bucket, app.state.settings)
        arguments = stop, sweeper, interval
        threading.Thread(target=sweep_until, args=arguments, name="sweeper", daemon=True).start()
    return stop


def tune_gc() -> None:
    """Keep what was loaded at the start out of garbage collection, and collect less often.

    A collection of everything stops all threads for 80 ms, and most of what it looks at is code.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_NEW_OBJECTS_PER_COLLECTION, *gc.get_threshold()[1:])


def delay_shutdown(app: FastAPI) -> None:
    """On SIGTERM let readiness fail, and the server stop accepting only `SHUTDOWN_DELAY` later.

    So a load balancer looks elsewhere before connections are refused.
    """
    delay = app.state.settings.shutdown_delay
    stop_server = signal.getsignal(signal.SIGTERM)
    if threading.current_thread() is not threading.main_thread() or not callable(stop_server):
        return

    def shut_down(signum: int, frame: FrameType | None) -> None:
        app.state.shutting_down.set()
        # Timers run in the event loop, between callbacks: it is safe to do there what the
        # server's own handler does.
        loop.call_soon_threadsafe(loop.call_later, delay, stop_server, signum, frame)

    loop = asyncio.get_running_loop()
    if delay:
        signal.signal(signal.SIGTERM, shut_down)
