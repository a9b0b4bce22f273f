"""Hosts and origins (RFC 6454), in the one spelling in which browsers send them."""

import re
from ipaddress import IPv6Address

_DEFAULT_PORTS = {"http": 80, "https": 443}
_ORIGIN = re.compile(r"([a-z][a-z0-9+.-]*)://([a-z0-9._-]+|\[[0-9a-f:.]+\])(?::(\d{1,5}))?/?")
_HOST = re.compile(r"\*|(?:\*\.)?[a-z0-9._-]+")


def normalise_origin(text: str) -> str:
    """Return an origin in lower case, without default port and slash. Raises ValueError."""
    match = _ORIGIN.fullmatch(text.lower())
    if match is None:
        raise ValueError(f"needs origins such as https://app.example, not {text!r}")
    scheme, host, port = match[1], normalise_host(match[2]), match[3]
    if port is None or int(port) == _DEFAULT_PORTS.get(scheme):
        return f"{scheme}://{host}"
    return f"{scheme}://{host}:{int(port)}"


def normalise_host(text: str) -> str:
    """Return a host in lower case, an IPv6 address in brackets; `*.` stands for every subdomain.

    Raises ValueError if `text` is not a host without scheme and port, or `*`.
    """
    try:
        return f"[{IPv6Address(text.removeprefix('[').removesuffix(']'))}]"
    except ValueError:
        host = text.lower()
    if not _HOST.fullmatch(host):
        raise ValueError(f"needs hosts without scheme and port, not {text!r}")
    return host
