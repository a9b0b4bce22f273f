"""API keys: who may read, and who may write (RFC 6750, bearer tokens). A signed link may, too."""

import hashlib
import hmac

from starlette.datastructures import Headers
from starlette.types import Scope

from config import ApiKey, Settings
from errors import (
    ForeignImageError,
    InvalidKeyError,
    InvalidLinkError,
    InvalidNameError,
    KeyRequiredError,
    ReadOnlyKeyError,
    ServiceError,
)
from services.names import normalise_name
from web.access import Caller, caller, is_public
from web.middleware.routed_path import UNMATCHED, match_route, routed_path
from web.middleware.signed_links import has_link, link_of

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_OPEN_PATHS = ("/health/", "/docs", "/openapi.json", "/static-offline-docs/", "/page/")
_METRICS_PATH = "/metrics"
# Handlers limit a listing, and an upload once its name has arrived, to what the key covers.
_LIMITED_LATER = frozenset({"/images", UNMATCHED})


def refuse_without_key(scope: Scope, settings: Settings) -> ServiceError | None:
    """Refuse a request without the key or the link that it needs.

    All paths are refused alike, so a response does not reveal whether an image exists. Health,
    documentation and what PUBLIC_READS opens need no key, but `/metrics` does. Without API_KEYS
    nothing does.
    """
    if not settings.api_keys:
        if scope["method"] == "PUT" and (link := link_of(scope, settings)):
            caller.set(Caller(link=link))  # limits the upload, and lets it come from other sites
        return None
    path = routed_path(scope)
    if path == "/" or path.startswith(_OPEN_PATHS):
        return None
    refusal = _refuse_without_key(scope, settings)
    if refusal is None or not has_link(scope):
        return refusal
    if link := link_of(scope, settings):
        caller.set(Caller(link=link))
        return None
    return InvalidLinkError() if isinstance(refusal, KeyRequiredError) else refusal


def _refuse_without_key(scope: Scope, settings: Settings) -> ServiceError | None:
    path = routed_path(scope)
    template, parameters = match_route(scope)
    reads = scope["method"] in _SAFE_METHODS
    public = reads and path != _METRICS_PATH and is_public(settings, by_name="name" in parameters)
    scheme, _, token = Headers(scope=scope).get("authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        return None if public else KeyRequiredError()
    key = _find_key(settings.api_keys, token.strip())
    if key is None:
        return InvalidKeyError()
    caller.set(Caller(key))
    if public:
        return None
    if not reads and key.scope != "write":
        return ReadOnlyKeyError()
    return _refuse_foreign(key, template, parameters) if key.prefix else None


def _find_key(keys: tuple[ApiKey, ...], token: str) -> ApiKey | None:
    """Return the key that is `token`, None if there is none. Takes the same time for every key."""
    digest = hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()
    found = None
    for key in keys:
        if hmac.compare_digest(digest, key.sha256):
            found = key
    return found


def _refuse_foreign(key: ApiKey, template: str, parameters: dict[str, str]) -> ServiceError | None:
    """Refuse all but images whose names begin with the key's prefix, whether or not they exist.

    A random image is refused, too: to draw one of some names uniformly, all have to be counted.
    """
    if template in _LIMITED_LATER:
        return None
    try:
        covered = "name" in parameters and key.covers(normalise_name(parameters["name"]))
    except InvalidNameError as exc:
        return exc
    return None if covered else ForeignImageError(key.prefix)
