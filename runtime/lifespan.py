"""Startup and shutdown: what is opened, started and tuned, and in which order."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from typing import TypedDict

import anyio
import anyio.to_thread

from config import Settings, load_settings
from resources import Resources
from runtime.logging import log_to_stderr
from runtime.memory import tune_gc, tune_malloc
from runtime.server import bound_connections, delay_shutdown, processes
from services.maintenance.sweeper import sweep_until
from telemetry import logger
from telemetry.metrics import recorder
from telemetry.tracing import trace_backends
from web.bulkhead import Bulkhead
from web.middleware.access_log import Observer
from web.spool_space import SpoolSpace
from web.variant_delivery import VariantDelivery

_SAMPLING_SECONDS = 1.0


class State(TypedDict):
    """What every request sees of the application (ASGI lifespan state)."""

    resources: Resources
    bulkhead: Bulkhead
    uploads: Bulkhead
    spool_space: SpoolSpace
    variant_delivery: VariantDelivery
    observer: Observer
    metrics_limiter: anyio.CapacityLimiter


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
        stack.enter_context(recorder.opened())
        resources = stack.enter_context(Resources.open(settings))
        resources.require_usable_database()
        if span := trace_backends(resources.engine):
            resources.bucket.span = span
        stack.enter_context(_sweeping(resources))
        spool_space = SpoolSpace(processes())
        bound_connections()  # before delay_shutdown replaces the handler that names the server
        delay_shutdown(resources)
        tune_gc()
        if not settings.api_keys:
            logger.warning("No API_KEYS: whoever reaches this service may read, write and delete")
        observer = Observer(settings)
        bulkhead = Bulkhead(settings.concurrency)
        async with _sampling(resources, observer):
            yield {
                "observer": observer,
                "resources": resources,
                "bulkhead": bulkhead,
                "uploads": Bulkhead.for_uploads(settings.concurrency),
                "spool_space": spool_space,
                "variant_delivery": VariantDelivery(settings, bulkhead),
                "metrics_limiter": anyio.CapacityLimiter(1),
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
    """Record every second what is in use and in progress, and at the end the last requests."""

    async def sample() -> None:
        while True:
            recorder.note_connections(*resources.connections)
            observer.flush()
            await asyncio.sleep(_SAMPLING_SECONDS)

    sampling = asyncio.create_task(sample())
    yield
    sampling.cancel()
    observer.flush()
