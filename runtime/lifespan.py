"""Startup and shutdown of the process, in order."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from typing import TypedDict

import anyio
import anyio.to_thread

from config import Settings, load_settings
from resources import Resources
from runtime.memory import tune_gc, tune_malloc
from runtime.server import (
    count_workers,
    delay_shutdown,
    limit_connections,
    normalise_root_path,
)
from runtime.uvicorn_log import log_to_stderr
from services.maintenance.sweeper import sweep_until
from telemetry import logger
from telemetry.metrics import recorder
from telemetry.tracing import trace_backends
from web.bulkhead import Bulkhead
from web.middleware.access_log import Observer
from web.uploads.spool_space import SpoolSpace
from web.variant_delivery import VariantDelivery


class State(TypedDict):
    """The state of the application that each request receives (ASGI lifespan state)."""

    resources: Resources
    bulkhead: Bulkhead
    uploads: Bulkhead
    spool_space: SpoolSpace
    variant_delivery: VariantDelivery
    observer: Observer
    metrics_limiter: anyio.CapacityLimiter


@asynccontextmanager
async def lifespan(settings: Settings | None) -> AsyncIterator[State]:
    """Start the service, yield the state of requests, and shut the service down.

    `settings` default to those of the environment. Raises ConfigurationError.
    """
    tune_malloc()
    settings = settings or load_settings()
    log_to_stderr(settings)
    normalise_root_path()
    anyio.to_thread.current_default_thread_limiter().total_tokens = settings.threads
    with ExitStack() as stack:
        stack.enter_context(recorder.opened())
        resources = stack.enter_context(Resources.open(settings))
        resources.require_usable_database()
        if span := trace_backends(resources.engine):
            resources.bucket.span = span
        stack.callback(_start_sweeper(resources).set)
        spool_space = SpoolSpace(count_workers())
        limit_connections()  # before delay_shutdown: finds the server by its handler of SIGTERM
        delay_shutdown(resources)
        tune_gc()
        if not settings.api_keys:
            logger.warning("No API_KEYS: all who reach this service may read, write and delete")
        observer = Observer(settings)
        bulkhead = Bulkhead(settings.concurrency)
        stack.callback(observer.flush)
        stack.callback(asyncio.create_task(_sample(resources, observer)).cancel)
        yield {
            "observer": observer,
            "resources": resources,
            "bulkhead": bulkhead,
            "uploads": Bulkhead.for_uploads(settings.concurrency),
            "spool_space": spool_space,
            "variant_delivery": VariantDelivery(settings, bulkhead),
            "metrics_limiter": anyio.CapacityLimiter(1),
        }


def _start_sweeper(resources: Resources) -> threading.Event:
    """Sweep in the background, as often as the settings say, until the returned event is set."""
    stop = threading.Event()
    if interval := resources.settings.sweep_interval_seconds:
        arguments = stop, resources.sweeper(), interval
        thread = threading.Thread(target=sweep_until, args=arguments, name="sweeper", daemon=True)
        thread.start()
        resources.readiness.background.append(thread)
    return stop


async def _sample(resources: Resources, observer: Observer) -> None:
    """Record every second the connections in use and the requests in progress."""
    while True:
        recorder.note_connections(*resources.connections)
        observer.flush()
        await asyncio.sleep(1)
