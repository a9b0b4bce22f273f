"""The application: settings in, ASGI app out."""

import tomllib
from pathlib import Path

from asgi_correlation_id import CorrelationIdMiddleware
from fastapi import FastAPI
from fastapi.routing import APIRoute
from fastapi_offline import FastAPIOffline

from config import Settings
from routers import health, images, links, metrics, page, variants
from runtime.lifespan import lifespan
from runtime.uvicorn_log import replace_uvicorn_log
from telemetry.request_id import HEADER, accept_request_id, new_request_id
from web.access import refuse_without_key
from web.middleware.access_log import ObservationMiddleware
from web.middleware.allowed_hosts import AllowedHostsMiddleware
from web.middleware.cors import CorsFromSettings
from web.middleware.cross_site_writes import refuse_cross_site_writes
from web.middleware.guards import GuardMiddleware
from web.middleware.load_shedding import LoadSheddingMiddleware
from web.middleware.path_guard import refuse_ambiguous_paths
from web.middleware.referrer_policy import NoReferrerMiddleware
from web.middleware.startup_errors import StartupErrorMiddleware
from web.openapi import complete
from web.problem_details import HANDLERS
from web.routed_path import is_probe

# The project is not installed, but runs from its folder.
_PROJECT = tomllib.loads(Path(__file__).with_name("pyproject.toml").read_text())["project"]

DESCRIPTION = """
Upload, download, describe, pick at random and delete images.

Errors are `application/problem+json` (RFC 9457) with a stable `code`.
"""


def create_app(settings: Settings | None = None) -> FastAPI:
    """Build the application. Without `settings`, it reads the environment when it starts."""
    # FastAPI with /docs from local files instead of a CDN.
    app = FastAPIOffline(
        title="Image API",
        version=_PROJECT["version"],
        description=DESCRIPTION,
        lifespan=lambda _: lifespan(settings),
        redoc_url=None,
        redirect_slashes=False,
        separate_input_output_schemas=False,
        exception_handlers=HANDLERS,
        # Takes effect only if OTEL_* is set, as for `telemetry.tracing`.
        telemetry={"auto_configure": True, "metrics": False, "logs": False, "exclude": is_probe},
    )
    _add_head(app)
    for module in (images, variants, links, health, metrics, page):
        app.include_router(module.router)
    generate = app.openapi
    app.openapi = lambda: complete(generate())  # type: ignore[method-assign]
    _add_middleware(app)
    return app


def _add_middleware(app: FastAPI) -> None:
    """Add the middleware, the innermost first."""
    app.add_middleware(LoadSheddingMiddleware)
    app.add_middleware(NoReferrerMiddleware)
    # Each rule relies on the ones before it: a valid path, then a valid key or link.
    rules = (refuse_ambiguous_paths, refuse_without_key, refuse_cross_site_writes)
    app.add_middleware(GuardMiddleware, rules=rules)
    app.add_middleware(CorsFromSettings)
    app.add_middleware(AllowedHostsMiddleware)
    app.add_middleware(
        CorrelationIdMiddleware,
        header_name=HEADER,
        update_request_header=False,
        generator=new_request_id,
        validator=None,  # would log each refused id, so hostile clients could flood the log
        transformer=accept_request_id,
    )
    app.add_middleware(ObservationMiddleware)
    app.add_middleware(StartupErrorMiddleware)


def _add_head(app: FastAPI) -> None:
    """Allow HEAD on the documentation's routes that allow GET."""
    for route in app.routes:
        if isinstance(route, APIRoute) and route.methods and "GET" in route.methods:
            route.methods.add("HEAD")


replace_uvicorn_log()
app = create_app()
