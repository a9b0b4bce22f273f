"""The application: settings in, ASGI app out."""

import asyncio
import logging
import signal
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import FrameType

import anyio.to_thread
from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware
from fastapi.routing import APIRoute
from fastapi_offline import FastAPIOffline
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from config import Settings, load_settings
from db import build_engine, build_sessions
from errors import ConfigurationError
from image_store import ping
from inspection import Inspector
from routers import health, images, problems
from routers.admission import AdmissionMiddleware
from routers.documentation import EXPOSED_HEADERS, add_problem_schema
from routers.exact_path import ExactPathMiddleware
from routers.request_id import RequestIdFilter, RequestIdMiddleware
from s3_client import Bucket
from sweeper import Sweeper, sweep_until

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
    for error, handler in problems.HANDLERS.items():
        app.add_exception_handler(error, handler)
    app.add_middleware(AdmissionMiddleware)
    app.add_middleware(ExactPathMiddleware)
    app.add_middleware(_CrossOrigin)
    app.add_middleware(RequestIdMiddleware)
    app.add_middleware(_OneSentenceStartupError)
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
    _log_to_stderr()
    if not hasattr(app.state, "settings"):
        _configure(app, load_settings())
    limiter = anyio.to_thread.current_default_thread_limiter()
    limiter.total_tokens = app.state.settings.concurrency
    _say_goodbye_first(app)
    stop = threading.Event()
    if interval := app.state.settings.sweep_interval_seconds:
        sweeper = Sweeper(app.state.sessions, app.state.bucket, app.state.settings)
        threading.Thread(
            target=sweep_until, args=(stop, sweeper, interval), name="sweeper", daemon=True
        ).start()
    yield
    stop.set()
    app.state.readiness.close()
    app.state.inspector.close()
    app.state.bucket.close()
    app.state.engine.dispose()


def _say_goodbye_first(app: FastAPI) -> None:
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


def _log_to_stderr() -> None:
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


class _CrossOrigin:
    """CORS for the origins of the settings; off without any.

    The settings of the module's own `app` are read only when the server starts, which is after
    middleware is added, so CORS is decided at the first request.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self._chosen: ASGIApp | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if self._chosen is None:
            self._chosen = self._choose(scope["app"].state.settings)
        await self._chosen(scope, receive, send)

    def _choose(self, settings: Settings) -> ASGIApp:
        if not settings.cors_allow_origins:
            return self.app
        return CORSMiddleware(
            self.app,
            allow_origins=settings.cors_allow_origins,
            allow_methods=["GET", "HEAD", "POST", "DELETE"],
            allow_headers=["*"],
            expose_headers=sorted(EXPOSED_HEADERS),
        )


class _OneSentenceStartupError:
    """Lets a wrong configuration stop the start with its sentence instead of a stack trace."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
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


app = create_app()
