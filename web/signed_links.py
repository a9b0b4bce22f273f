"""Signed links: addresses that allow something without an API key, until they expire.

A link is of a name, whether or not there is such an image. Its signature, an HMAC-SHA-256 (RFC
2104), covers the name and all parameters of the link, but no other parameters of the address.
"""

import base64
import hmac
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Literal, Self, cast
from urllib.parse import parse_qsl, unquote_plus, urlencode

Right = Literal["read", "variants", "upload"]
"""What a link allows: to read all of an image, or its variants alone, or to upload it."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND, _SECOND = timedelta(microseconds=1), timedelta(seconds=1)
# Nothing else that the same secret may sign looks like this.
_CONTEXT = "image-api link 1"
_SIGNATURE = "sig"  # traces redact a parameter of this name
_PARAMETERS = frozenset({"allows", "expires", "replace", "max_bytes", _SIGNATURE})

# Which rights allow a request, by its route; all other requests need a key.
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
    """What is allowed with the image `name` before `expires`, in milliseconds of Unix time.

    An upload may overwrite the image with `replace` only, and has at most `max_bytes`.
    """

    allows: Right
    name: str
    expires: int
    replace: bool = False
    max_bytes: int | None = None

    @property
    def expires_at(self) -> datetime:
        """The moment from which on the link is refused."""
        return _EPOCH + timedelta(milliseconds=self.expires)

    def opens(self, method: str, route: str) -> bool:
        """Whether the link allows requests of a method and a route, such as `/images/{name}`."""
        return self.allows in _ALLOWING.get(method, {}).get(route, ())

    def seconds_left(self, now: datetime) -> int:
        """Return how many whole seconds the link remains valid."""
        return max(0, (self.expires_at - now) // _SECOND)

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

        No parameter may be missing, changed, added or doubled. The time does not depend on how
        wrong a signature is.
        """
        given = [
            pair for pair in parse_qsl(query, keep_blank_values=True) if pair[0] in _PARAMETERS
        ]
        parameters = dict(given)
        signature = parameters.pop(_SIGNATURE, "").encode()
        signed = [_sign(name, parameters, secret).encode() for secret in secrets]
        genuine = [hmac.compare_digest(one, signature) for one in signed]
        if not any(genuine) or len(given) != len(parameters) + 1:
            return None
        link = cls._from_genuine(name, parameters)
        return link if now < link.expires_at else None

    @classmethod
    def _from_genuine(cls, name: str, parameters: Mapping[str, str]) -> Self:
        most = parameters.get("max_bytes")
        return cls(
            cast("Right", parameters["allows"]),
            name,
            int(1000 * Decimal(parameters["expires"])),
            "replace" in parameters,
            None if most is None else int(most),
        )


def is_link(query: str) -> bool:
    """Whether a query string has a parameter of links, even if others were lost."""
    return not _PARAMETERS.isdisjoint(dict(parse_qsl(query, keep_blank_values=True)))


def link_parameters(query: str) -> str:
    """Return the parameters of a link in a query string, without any others."""
    parts = query.split("&")
    return "&".join(part for part in parts if unquote_plus(part.partition("=")[0]) in _PARAMETERS)


def expiry(now: datetime, seconds: int) -> int:
    """Return when a link for that many seconds expires, in milliseconds of Unix time.

    The end is rounded up to a multiple of an eighth of the life. So links whose ends round up to
    the same multiple are equal byte for byte, and caches keep what they lead to.
    """
    eighth = 125 * seconds
    end = (now - _EPOCH + seconds * _SECOND) // _MICROSECOND
    return -(-end // (1000 * eighth)) * eighth


def _seconds(milliseconds: int) -> str:
    whole, rest = divmod(milliseconds, 1000)
    return f"{whole}.{rest:03}".rstrip("0").rstrip(".")


def _sign(name: str, parameters: Mapping[str, str], secret: str) -> str:
    """Return the signature; JSON keeps what it is of apart."""
    message = json.dumps([_CONTEXT, name, sorted(parameters.items())]).encode()
    digest = hmac.digest(secret.encode(), message, "sha256")
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")
