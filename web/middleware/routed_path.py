"""The path that routes know: what clients ask for, without the prefix of a proxy in front."""

from starlette.types import Scope

_PROBES = frozenset({"/health/live", "/health/ready", "/metrics"})


def routed_path(scope: Scope) -> str:
    """Return the path below `root_path`, with which servers begin it (ASGI, "root_path")."""
    path: str = scope["path"]
    root_path: str = scope.get("root_path", "")
    if root_path and (path == root_path or path.startswith(f"{root_path}/")):
        return path[len(root_path) :]
    return path


def is_probe(scope: Scope) -> bool:
    """Whether a machine watches the service by this request."""
    return routed_path(scope) in _PROBES
