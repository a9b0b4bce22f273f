"""How the process begins and ends: resources, sweeping, SIGTERM, a wrong configuration."""

import asyncio
import ctypes
import gc
import logging
import signal
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from types import FrameType
from typing import TypedDict

import anyio
import anyio.to_thread
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from config import Settings, load_settings
from errors import ConfigurationError
from resources import Resources
from runtime.cpu_affinity import one_cpu
from runtime.logging import log_to_stderr
from runtime.server import bound_connections
from runtime.tracing import trace_backends
from services.sweeper import sweep_until
from telemetry.recorder import recorder
from web.bulkhead import Bulkhead
from web.middleware.observation import Observer
from web.renderings import Renderings

logger = logging.getLogger("image_api")

_SAMPLING_SECONDS = 1.0
_NEW_OBJECTS_PER_COLLECTION = 5000
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # malloc.h


class State(TypedDict):
    """What every request sees of the application (ASGI lifespan state)."""

    resources: Resources
    bulkhead: Bulkhead
    uploads: Bulkhead
    renderings: Renderings
    observer: Observer
    scrapes: anyio.CapacityLimiter


@asynccontextmanager
async def lifespan(settings: Settings | None) -> AsyncIterator[State]:
    """Start the process, yield what requests need, and end it in order.

    Without `settings` they are read from the environment. Raises ConfigurationError.
    """
    tune_malloc()
    settings = settings or load_settings()
    log_to_stderr(settings)
    anyio.to_thread.current_default_thread_limiter().total_tokens = settings.threads
    with ExitStack() as stack:
        if settings.metrics:
            stack.enter_context(recorder.opened(settings.prometheus_multiproc_dir))
        if settings.cpu_affinity:
            stack.enter_context(one_cpu())
        resources = stack.enter_context(Resources.open(settings))
        trace_backends(resources.engine)
        stack.enter_context(_sweeping(resources))
        bound_connections()  # before the next, which hides the server
        delay_shutdown(resources)
        tune_gc()
        if not settings.api_keys:
            logger.warning("No API_KEYS: whoever reaches this service may read, write and delete")
        observer = Observer(settings)
        async with _sampling(resources, observer):
            yield {
                "observer": observer,
                "resources": resources,
                "bulkhead": Bulkhead(settings.concurrency),
                "uploads": Bulkhead.for_uploads(settings.concurrency),
                "renderings": Renderings(),
                "scrapes": anyio.CapacityLimiter(1),
            }


@contextmanager
def _sweeping(resources: Resources) -> Iterator[None]:
    """Sweep in the background as often as the settings say."""
    stop = threading.Event()
    if interval := resources.settings.sweep_interval_seconds:
        arguments = stop, resources.sweeper(), interval
        thread = threading.Thread(target=sweep_until, args=arguments, name="sweeper", daemon=True)
        thread.start()
        resources.readiness.background.append(thread)
    yield
    stop.set()


@asynccontextmanager
async def _sampling(resources: Resources, observer: Observer) -> AsyncIterator[None]:
    """Note every second what is in use and in progress; in the end tell of the last requests.

    After requests, in the first such moment without one, give memory back.
    """

    async def sample() -> None:
        trimmed = 0
        while True:
            recorder.note_connections(*resources.connections)
            observer.tell()
            if observer.begun > trimmed and not observer.in_progress:
                trim_malloc()
                trimmed = observer.begun
            await asyncio.sleep(_SAMPLING_SECONDS)

    sampling = asyncio.create_task(sample())
    yield
    sampling.cancel()
    observer.tell()


def tune_gc() -> None:
    """Keep what was loaded at the start out of garbage collection, and collect less often.

    A collection of everything stops all threads for 80 ms, and most of what it looks at is code.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_NEW_OBJECTS_PER_COLLECTION, *gc.get_threshold()[1:])


def tune_malloc() -> None:
    """Let glibc keep what it needs again at once; other C libraries are left alone.

    By default each thread keeps what it freed in an arena of its own: after an attack by hostile
    clients a worker stayed 58 MB above rest. With one arena for all, which gives every large block
    back to the system, a download of 20 MB took 24 ms of CPU instead of 14. See mallopt(3).
    """
    with suppress(OSError, AttributeError):
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(_M_ARENA_MAX, 1)
        libc.mallopt(_M_TRIM_THRESHOLD, 16 * 1024 * 1024)
        libc.mallopt(_M_MMAP_THRESHOLD, 4 * 1024 * 1024)


def trim_malloc() -> None:
    """Give what is not needed back to the system. See malloc_trim(3)."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)


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


class StartupErrorMiddleware:
    """Lets a wrong configuration stop the start with one sentence instead of a stack trace."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass everything on except the stack trace of a failed start."""
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
