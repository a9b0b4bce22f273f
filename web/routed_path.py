"""The path of a request as the routes know it, without the prefix of a proxy."""

import re
from functools import lru_cache

from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from starlette.types import Scope

UNMATCHED = "unmatched"
_PROBES = frozenset({"/health/live", "/health/ready", "/metrics"})


def routed_path(scope: Scope) -> str:
    """Return the path without `root_path`, with which servers prefix it (ASGI, "root_path")."""
    path: str = scope["path"]
    root_path: str = scope.get("root_path", "")
    if root_path and (path == root_path or path.startswith(f"{root_path}/")):
        return path[len(root_path) :]
    return path


def match_route(scope: Scope) -> tuple[str, dict[str, str]]:
    """Return the template of the path, such as `/images/{name}`, and its parameters.

    Routes with the same path differ only in their methods, so the first match is enough. The
    template of a path without a route is UNMATCHED.
    """
    path = routed_path(scope)
    for pattern, template in _templates(scope["app"]):
        if match := pattern.fullmatch(path):
            return template, match.groupdict()
    return UNMATCHED, {}


@lru_cache(maxsize=1)
def _templates(app: FastAPI) -> list[tuple[re.Pattern[str], str]]:
    routes = iter_route_contexts(app.routes)
    return [(route.path_regex, route.path) for route in routes if route.path]


def is_probe(scope: Scope) -> bool:
    """Return whether a request is a health check or a scrape, which traces exclude."""
    return scope["type"] == "http" and routed_path(scope) in _PROBES
