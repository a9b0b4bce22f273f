"""Access control: by API key (RFC 6750, bearer tokens), by signed link, or without either."""

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
from telemetry.request_waits import note_image
from web.caller import Caller, caller
from web.routed_path import UNMATCHED, match_route, routed_path
from web.signed_links import link_of, link_parameters

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_OPEN_PATHS = ("/health/", "/docs", "/openapi.json", "/static-offline-docs/", "/page/")
_METRICS_PATH = "/metrics"
# Here the handlers check the prefix: `listed_prefix`, and `admit_upload` once the name has arrived.
_LIMITED_LATER = frozenset({"/images", UNMATCHED})


def is_public(settings: Settings, *, by_name: bool) -> bool:
    """Return whether a read needs no key: of an image `by_name`, or of images found otherwise."""
    public = settings.public_reads
    return not settings.api_keys or public is True or (by_name and public == "images")


def refuse_without_key(scope: Scope, settings: Settings) -> ServiceError | None:
    """Refuse a request without the key or the link that it needs.

    All paths are refused alike, so a response does not reveal whether an image exists. Health
    checks, documentation and what PUBLIC_READS allows need no key; `/metrics` needs one. Without
    API_KEYS, nothing needs a key.
    """
    if not settings.api_keys:
        if scope["method"] == "PUT" and (link := link_of(scope, settings)):
            caller.set(Caller(link=link))  # limits the upload, and allows it from other sites
        return None
    path = routed_path(scope)
    if path == "/" or path.startswith(_OPEN_PATHS):
        return None
    refusal = _refuse_by_key(scope, settings)
    if refusal is None or not link_parameters(scope["query_string"].decode("latin-1")):
        return refusal
    if link := link_of(scope, settings):
        caller.set(Caller(link=link))
        return None
    return InvalidLinkError() if isinstance(refusal, KeyRequiredError) else refusal


def _refuse_by_key(scope: Scope, settings: Settings) -> ServiceError | None:
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
    """Return the key of a token, or None. Takes the same time for every key."""
    digest = hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()
    matches = [key for key in keys if hmac.compare_digest(digest, key.sha256)]
    return matches[-1] if matches else None


def _refuse_foreign(key: ApiKey, template: str, parameters: dict[str, str]) -> ServiceError | None:
    """Refuse everything but names that begin with the key's prefix, whether or not they exist.

    A random image is refused too: drawing uniformly among some names requires counting them.
    """
    if template in _LIMITED_LATER:
        return None
    try:
        covered = "name" in parameters and key.covers(normalise_name(parameters["name"]))
    except InvalidNameError as exc:
        return exc
    return None if covered else ForeignImageError(key.prefix)


def admit_upload(name: str) -> None:
    """Check the name of an upload before anything is stored, and note it for the log.

    Raises InvalidNameError or ForeignImageError.
    """
    name, key = normalise_name(name), caller.get().key
    note_image(name)
    if key and not key.covers(name):
        raise ForeignImageError(key.prefix)


def listed_prefix(prefix: str, settings: Settings) -> str:
    """Return the prefix of a listing: the longer one of the requested `prefix` and the key's.

    Raises ForeignImageError if no name can have both.
    """
    key = caller.get().key
    if key is None or is_public(settings, by_name=False) or prefix.startswith(key.prefix):
        return prefix
    if key.prefix.startswith(prefix):
        return key.prefix
    raise ForeignImageError(key.prefix)
