"""The TLS arguments of MySQL and MariaDB URLs, such as `?ssl_ca=...`.

The service reads them itself. In a URL, PyMySQL takes `ssl_disabled=false` for true; with
`ssl_verify_identity=true` it ignores the CA and does not check the host name.
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

    Without any of them, PyMySQL uses TLS if the server offers it and, like libpq, verifies nothing.
    With any, the server must offer TLS with a certificate for the host of the URL, signed by the
    given CAs or the system's, unless `ssl_check_hostname=false` or `ssl_verify_cert=false`. Files
    are read only here. Raises ValueError if a file or a flag cannot be read.
    """
    tls = {name: str(value) for name, value in url.query.items() if name in _ARGUMENTS}
    rest = url.difference_update_query(tls)
    if _flag(tls, "ssl_disabled", default=False):
        return rest, {"ssl_disabled": True}
    tls.pop("ssl_disabled", None)
    try:
        return rest, {"ssl": _context(tls)} if tls else {}
    except OSError as exc:
        raise ValueError(f"a file of its TLS arguments cannot be read: {exc}") from exc


def verifies_server(arguments: Mapping[str, Any]) -> bool:
    """Whether a connection with these arguments proves that it reaches the named server."""
    context = arguments.get("ssl")
    return bool(context and context.check_hostname and context.verify_mode == ssl.CERT_REQUIRED)


def _context(tls: Mapping[str, str]) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=tls.get("ssl_ca"), capath=tls.get("ssl_capath"))
    # Python 3.13 sets this flag, but the certificates that MySQL generates do not satisfy it.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    verified = _flag(tls, "ssl_verify_cert")
    named = _flag(tls, "ssl_check_hostname") and _flag(tls, "ssl_verify_identity")
    context.check_hostname = verified and named
    context.verify_mode = ssl.CERT_REQUIRED if verified else ssl.CERT_NONE
    if "ssl_cipher" in tls:
        context.set_ciphers(tls["ssl_cipher"])
    if "ssl_cert" in tls:
        # Without a password OpenSSL would ask for it on the terminal.
        key, password = tls.get("ssl_key"), tls.get("ssl_key_password", "")
        context.load_cert_chain(tls["ssl_cert"], key, password)
    return context


def _flag(tls: Mapping[str, str], name: str, *, default: bool = True) -> bool:
    try:
        return _FLAGS[tls[name].lower()] if name in tls else default
    except KeyError:
        raise ValueError(f"{name} is neither true nor false") from None
