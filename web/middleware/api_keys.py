"""API keys: who may read, and who may write (RFC 6750, bearer tokens)."""

import hashlib
import hmac
from contextvars import ContextVar

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from config import ApiKey, Settings
from errors import InsufficientScopeError, InvalidKeyError, KeyRequiredError, ServiceError
from web.middleware.routed_path import routed_path
from web.problem_details import answer_service_error

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_OPEN_PATHS = ("/health/", "/docs", "/openapi.json", "/static-offline-docs/")
_METRICS_PATH = "/metrics"

# The name of the key that the current request was made with; for the log.
caller: ContextVar[str] = ContextVar("caller", default="-")


class ApiKeyMiddleware:
    """Refuses requests without the key that they need, before their body is read.

    Every path is refused alike, so that nothing tells an image that exists from one that does not.
    Health, documentation and, with PUBLIC_READS, all reading but of `/metrics` stay open. Without
    API_KEYS everything does.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer 401 or 403."""
        if scope["type"] == "http":
            settings: Settings = scope["state"]["resources"].settings
            if settings.api_keys and (refusal := _refusal(scope, settings)):
                answer = await answer_service_error(Request(scope), refusal)
                await answer(scope, receive, send)
                return
        await self.app(scope, receive, send)


def _refusal(scope: Scope, settings: Settings) -> ServiceError | None:
    """Return why the request is refused, None where it is not."""
    path = routed_path(scope)
    if path.startswith(_OPEN_PATHS):
        return None
    reads = scope["method"] in _SAFE_METHODS
    public = settings.public_reads and not path.startswith(_METRICS_PATH)
    scheme, _, token = Headers(scope=scope).get("authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        return None if reads and public else KeyRequiredError()
    key = find_key(settings.api_keys, token.strip())
    if key is None:
        return InvalidKeyError()
    caller.set(key.name)
    return None if reads or key.scope == "write" else InsufficientScopeError()


def find_key(keys: tuple[ApiKey, ...], token: str) -> ApiKey | None:
    """Return the key that is `token`, None where there is none. Takes the same time for all."""
    digest = hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()
    found = None
    for key in keys:
        if hmac.compare_digest(digest, key.sha256):
            found = key
    return found
