"""The application: settings in, ASGI app out."""

import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio.to_thread
from fastapi import FastAPI
from fastapi.routing import APIRoute
from fastapi_offline import FastAPIOffline

from config import Settings, load_settings
from db import build_engine, build_sessions
from routers import health, images
from runtime.cpu_affinity import share_one_cpu
from runtime.lifespan import (
    OneSentenceStartupError,
    delay_shutdown,
    log_to_stderr,
    sweep_in_background,
    tune_gc,
)
from s3_client import Bucket
from services.image_store import ping
from services.inspection import Inspector
from web import problem_details
from web.middleware.cors import CorsMiddleware
from web.middleware.load_shedding import LoadSheddingMiddleware
from web.middleware.path_guard import PathGuardMiddleware
from web.middleware.request_id import RequestIdMiddleware
from web.openapi import add_problem_schema

DESCRIPTION = """
Upload, download, describe, pick at random and delete images.

Errors are `application/problem+json` (RFC 9457) with a stable `code`.
"""


def create_app(settings: Settings | None = None) -> FastAPI:
    """Build the application; nothing is connected before the first request needs it.

    Without `settings` they are read from the environment when the server starts.
    """
    # FastAPI with /docs from local files instead of a CDN.
    app = FastAPIOffline(
        title="Image API",
        version="0.1.0",
        description=DESCRIPTION,
        lifespan=_lifespan,
        redoc_url=None,
        redirect_slashes=False,
        separate_input_output_schemas=False,
    )
    _add_head(app)
    app.include_router(images.router)
    app.include_router(health.router)
    generate = app.openapi
    app.openapi = lambda: add_problem_schema(generate())  # type: ignore[method-assign]
    for error, handler in problem_details.HANDLERS.items():
        app.add_exception_handler(error, handler)
    app.add_middleware(LoadSheddingMiddleware)
    app.add_middleware(PathGuardMiddleware)
    app.add_middleware(CorsMiddleware)
    app.add_middleware(RequestIdMiddleware)
    app.add_middleware(OneSentenceStartupError)
    if settings is not None:
        _configure(app, settings)
    return app


def _add_head(app: FastAPI) -> None:
    """Let HEAD work wherever the documentation's routes let GET work."""
    for route in app.routes:
        if isinstance(route, APIRoute) and route.methods and "GET" in route.methods:
            route.methods.add("HEAD")


def _configure(app: FastAPI, settings: Settings) -> None:
    """Build what handlers share: lazily connecting, so that nothing fails here."""
    engine = build_engine(settings)
    app.state.settings = settings
    app.state.engine = engine
    app.state.sessions = build_sessions(engine)
    app.state.bucket = Bucket(settings)
    app.state.inspector = Inspector(settings)
    checks = {"database": lambda: ping(app.state.sessions()), "bucket": app.state.bucket.check}
    app.state.shutting_down = threading.Event()
    app.state.readiness = health.Readiness(checks, settings.ready_timeout)


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    log_to_stderr()
    if not hasattr(app.state, "settings"):
        _configure(app, load_settings())
    limiter = anyio.to_thread.current_default_thread_limiter()
    limiter.total_tokens = app.state.settings.concurrency
    delay_shutdown(app)
    stop = sweep_in_background(app)
    if app.state.settings.cpu_affinity:
        share_one_cpu(stop)
    tune_gc()
    yield
    stop.set()
    app.state.readiness.close()
    app.state.inspector.close()
    app.state.bucket.close()
    app.state.engine.dispose()


app = create_app()
