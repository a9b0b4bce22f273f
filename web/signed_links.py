"""Signed links: addresses that work without an API key until they expire.

A link is for a name, whether or not the image exists. Its signature, an HMAC-SHA-256 (RFC 2104),
covers the name and all parameters of the link, but no other parameters of the address.

`link_of` enforces the name, the right and the expiry, `SignedLink.upload_settings` the size of an
upload, and `Caller.uploader` whether it may overwrite an image.
"""

import base64
import hmac
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Self, cast
from urllib.parse import parse_qsl, unquote_plus, urlencode

from starlette.types import Scope

from config import Settings
from errors import InvalidNameError
from schemas import LinkRequest, Right
from services.names import normalise_name
from web.routed_path import match_route

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND, _SECOND = timedelta(microseconds=1), timedelta(seconds=1)
# Domain separation: no other message that is signed with this secret begins with this text.
_CONTEXT = "image-api link 1"
_SIGNATURE = "sig"  # traces redact a parameter of this name
_PARAMETERS = frozenset({"allows", "expires", "replace", "max_bytes", _SIGNATURE})

# The rights that allow a request, by its route. All other requests need a key.
_READERS: dict[str, tuple[Right, ...]] = {
    "/images/{name}": ("read",),
    "/images/{name}/metadata": ("read",),
    "/images/{name}/variants/{variant}": ("read", "variants"),
}
_WRITERS: dict[str, tuple[Right, ...]] = {"/images/{name}": ("upload",)}
_ALLOWING: dict[str, dict[str, tuple[Right, ...]]] = {
    "GET": _READERS,
    "HEAD": _READERS,
    "PUT": _WRITERS,
}


@dataclass(frozen=True, slots=True)
class SignedLink:
    """A right to the image `name` until `expires`, in milliseconds of Unix time.

    An upload may overwrite the image only with `replace`, and has at most `max_bytes`.
    """

    allows: Right
    name: str
    expires: int
    replace: bool = False
    max_bytes: int | None = None

    @property
    def expires_at(self) -> datetime:
        """When the link expires; from this moment on it is refused."""
        return _EPOCH + timedelta(milliseconds=self.expires)

    def seconds_remaining(self, now: datetime) -> int:
        """Return for how many whole seconds the link remains valid."""
        return max(0, (self.expires_at - now) // _SECOND)

    def upload_settings(self, settings: Settings) -> Settings:
        """Return the settings of an upload by this link, whose `max_bytes` may lower the limit."""
        max_bytes = min(self.max_bytes or settings.max_upload_bytes, settings.max_upload_bytes)
        return settings.model_copy(update={"max_upload_bytes": max_bytes})

    def query(self, secret: str) -> str:
        """Return the parameters that make an address of the image a link."""
        parameters = {"allows": self.allows, "expires": _seconds(self.expires)}
        if self.replace:
            parameters["replace"] = "true"
        if self.max_bytes is not None:
            parameters["max_bytes"] = str(self.max_bytes)
        return urlencode(parameters | {_SIGNATURE: _sign(self.name, parameters, secret)})

    @classmethod
    def from_query(
        cls, query: str, name: str, secrets: Sequence[str], now: datetime
    ) -> Self | None:
        """Return the link to the image `name` in a query string; None unless it is valid.

        No parameter may be missing, changed, added or repeated. Signatures are compared in constant
        time.
        """
        given = parse_qsl(link_parameters(query), keep_blank_values=True)
        parameters = dict(given)
        signature = parameters.pop(_SIGNATURE, "").encode()
        signed = [_sign(name, parameters, secret).encode() for secret in secrets]
        genuine = [hmac.compare_digest(one, signature) for one in signed]
        if not any(genuine) or len(given) != len(parameters) + 1:
            return None
        link = cls(
            cast("Right", parameters["allows"]),
            name,
            int(1000 * Decimal(parameters["expires"])),
            "replace" in parameters,
            int(parameters["max_bytes"]) if "max_bytes" in parameters else None,
        )
        return link if now < link.expires_at else None


def make_link(name: str, request: LinkRequest) -> SignedLink:
    """Return the link to the image `name`, in the form in which it is stored, beginning now."""
    expires = expiry(datetime.now(UTC), request.expires_in)
    return SignedLink(request.allows, name, expires, request.replace, request.max_bytes)


def link_of(scope: Scope, settings: Settings) -> SignedLink | None:
    """Return the link of a request; None unless it is valid and allows the request."""
    template, parameters = match_route(scope)
    try:
        name = normalise_name(parameters.get("name", ""))
    except InvalidNameError:
        return None
    query, now = scope["query_string"].decode("latin-1"), datetime.now(UTC)
    link = SignedLink.from_query(query, name, settings.link_secrets, now)
    rights = _ALLOWING.get(scope["method"], {}).get(template, ())
    return link if link and link.allows in rights else None


def link_parameters(query: str) -> str:
    """Return the parameters of a link in a query string, valid or not, without any others."""
    parts = query.split("&")
    return "&".join(part for part in parts if unquote_plus(part.partition("=")[0]) in _PARAMETERS)


def expiry(now: datetime, seconds: int) -> int:
    """Return when a link made `now` for so many seconds expires, in milliseconds of Unix time.

    The moment is rounded up to a multiple of an eighth of the lifetime. Links that expire at the
    same moment are equal byte for byte, so caches can reuse what they lead to.
    """
    eighth = 125 * seconds
    end = (now - _EPOCH + seconds * _SECOND) // _MICROSECOND
    return -(-end // (1000 * eighth)) * eighth


def _seconds(milliseconds: int) -> str:
    whole, rest = divmod(milliseconds, 1000)
    return f"{whole}.{rest:03}".rstrip("0").rstrip(".")


def _sign(name: str, parameters: Mapping[str, str], secret: str) -> str:
    """Return the signature; JSON separates the parts of its message unambiguously."""
    message = json.dumps([_CONTEXT, name, sorted(parameters.items())]).encode()
    digest = hmac.digest(secret.encode(), message, "sha256")
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")
