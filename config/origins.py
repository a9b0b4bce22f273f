"""Hosts and origins (RFC 6454), spelled as browsers send them."""

import re
from contextlib import suppress
from ipaddress import IPv6Address

_DEFAULT_PORTS = {"http": 80, "https": 443}
_MAX_PORT = 65535
_ORIGIN = re.compile(r"([a-z][a-z0-9+.-]*)://([a-z0-9._-]+|\[[0-9a-f:.]+\])(?::([0-9]{1,5}))?/?")
_HOST = re.compile(r"\*|(?:\*\.)?[a-z0-9._-]+")


def normalise_origin(text: str) -> str:
    """Return an origin in lower case without default port and final slash. Raises ValueError."""
    match = _ORIGIN.fullmatch(text.lower())
    with suppress(ValueError):
        if match and int(match[3] or 0) <= _MAX_PORT:
            origin = f"{match[1]}://{normalise_host(match[2])}"
            default = match[3] is None or int(match[3]) == _DEFAULT_PORTS.get(match[1])
            return origin if default else f"{origin}:{int(match[3])}"
    raise ValueError(f"needs origins such as https://app.example, not {text!r}")


def normalise_host(text: str) -> str:
    """Return a host in lower case, an IPv6 address in brackets; `*.` stands for every subdomain.

    Raises ValueError if `text` is not a host without scheme and port, or `*`.
    """
    host = text.lower()
    with suppress(ValueError):
        address = IPv6Address(host[1:-1] if re.fullmatch(r"\[.*\]", host) else host)
        if address.scope_id is None:  # browsers send no zone
            return f"[{address}]"
    if not _HOST.fullmatch(host):
        raise ValueError(f"needs hosts without scheme and port, not {text!r}")
    return host
