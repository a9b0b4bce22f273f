"""API keys: who may read, and who may write (RFC 6750, bearer tokens)."""

import hashlib
import hmac
from contextvars import ContextVar

from starlette.datastructures import Headers
from starlette.types import Scope

from config import ApiKey, Settings
from errors import InsufficientScopeError, InvalidKeyError, KeyRequiredError, ServiceError
from web.middleware.routed_path import routed_path

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_OPEN_PATHS = ("/health/", "/docs", "/openapi.json", "/static-offline-docs/", "/page/")
_METRICS_PATH = "/metrics"

# The name of the key that the current request was made with; for the log.
caller: ContextVar[str] = ContextVar("caller", default="-")


def refuse_without_key(scope: Scope, settings: Settings) -> ServiceError | None:
    """Refuse a request without the key that it needs.

    All paths are refused alike, so a response does not reveal whether an image exists. Health,
    documentation and, with PUBLIC_READS, all reads except `/metrics` need no key. Without API_KEYS
    nothing does.
    """
    if not settings.api_keys:
        return None
    path = routed_path(scope)
    if path == "/" or path.startswith(_OPEN_PATHS):
        return None
    reads = scope["method"] in _SAFE_METHODS
    public = settings.public_reads and not path.startswith(_METRICS_PATH)
    scheme, _, token = Headers(scope=scope).get("authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        return None if reads and public else KeyRequiredError()
    key = _find_key(settings.api_keys, token.strip())
    if key is None:
        return InvalidKeyError()
    caller.set(key.name)
    return None if reads or key.scope == "write" else InsufficientScopeError()


def _find_key(keys: tuple[ApiKey, ...], token: str) -> ApiKey | None:
    """Return the key that is `token`, None if there is none. Takes the same time for every key."""
    digest = hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()
    found = None
    for key in keys:
        if hmac.compare_digest(digest, key.sha256):
            found = key
    return found
