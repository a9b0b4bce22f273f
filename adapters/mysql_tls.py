"""The TLS arguments of MySQL and MariaDB URLs, such as `?ssl_ca=...`.

The service reads them itself: in a URL, PyMySQL takes `ssl_disabled=false` for true, and with
`ssl_verify_identity=true` it loses the CA and does not check the host name.
"""

import ssl
from collections.abc import Mapping
from typing import Any

from sqlalchemy import URL

_ARGUMENTS = {
    *("ssl_ca", "ssl_capath", "ssl_cert", "ssl_key", "ssl_key_password", "ssl_cipher"),
    *("ssl_check_hostname", "ssl_verify_identity", "ssl_verify_cert", "ssl_disabled"),
}
_FLAGS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


def split_tls(url: URL) -> tuple[URL, dict[str, Any]]:
    """Return the URL without its TLS arguments, and the arguments of PyMySQL that replace them.

    Without any, PyMySQL uses TLS if the server offers it, and verifies nothing, like libpq. With
    any, the server must offer TLS with a certificate for the host of the URL, signed by the given
    CAs or the system's, unless `ssl_check_hostname=false` or `ssl_verify_cert=false`. Files are
    read once, here. Raises ValueError if a file or a flag cannot be read.
    """
    given = {name: str(value) for name, value in url.query.items() if name in _ARGUMENTS}
    rest = url.difference_update_query(given)
    if _flag(given, "ssl_disabled", default=False):
        return rest, {"ssl_disabled": True}
    given.pop("ssl_disabled", None)
    try:
        return rest, {"ssl": _context(given)} if given else {}
    except OSError as exc:
        raise ValueError(f"a file of its TLS arguments cannot be read: {exc}") from exc


def verifies_server(arguments: Mapping[str, Any]) -> bool:
    """Whether the connection proves that the other end is the named server."""
    context = arguments.get("ssl")
    if context is None:
        return False
    return bool(context.check_hostname and context.verify_mode == ssl.CERT_REQUIRED)


def _context(given: Mapping[str, str]) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=given.get("ssl_ca"), capath=given.get("ssl_capath"))
    # Python 3.13 sets it; the certificates that MySQL generates do not satisfy it.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    verified = _flag(given, "ssl_verify_cert")
    named = _flag(given, "ssl_check_hostname") and _flag(given, "ssl_verify_identity")
    context.check_hostname = verified and named
    context.verify_mode = ssl.CERT_REQUIRED if verified else ssl.CERT_NONE
    if "ssl_cipher" in given:
        context.set_ciphers(given["ssl_cipher"])
    if "ssl_cert" in given:
        key, password = given.get("ssl_key"), given.get("ssl_key_password")
        context.load_cert_chain(given["ssl_cert"], key, password)
    return context


def _flag(given: Mapping[str, str], name: str, *, default: bool = True) -> bool:
    try:
        return _FLAGS[given[name].lower()] if name in given else default
    except KeyError:
        raise ValueError(f"{name} is neither true nor false") from None
