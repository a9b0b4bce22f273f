"""Refuses paths whose meaning changes when the server decodes them, before other rules see them.

`%2F` would become a path separator: `/images/a%2Fmetadata` would describe `a`. Invalid UTF-8 would
become replacement characters: two names would be one. The `$` in the regular expressions of routes
matches before a line feed: `/metrics%0A` would evade the rules for `/metrics`.
"""

import re
from urllib.parse import unquote_to_bytes

from starlette.types import Scope

from config import Settings
from errors import InvalidNameError, InvalidRequestError
from web.routed_path import routed_path

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")  # C0, DEL and C1


def refuse_ambiguous_paths(scope: Scope, _settings: Settings) -> InvalidRequestError | None:
    """Refuse a path that the server's decoding changes."""
    fault = _fault(scope)
    if fault is None:
        return None
    of_image = routed_path(scope).startswith("/images/")
    return InvalidNameError(fault) if of_image else InvalidRequestError(fault)


def _fault(scope: Scope) -> str | None:
    raw_path: bytes = scope.get("raw_path") or b""
    if _CONTROL.search(scope["path"]):
        return "The path contains a control character."
    if b"%2f" in raw_path.lower():
        return "The path contains an encoded slash."
    try:
        unquote_to_bytes(raw_path).decode()
    except UnicodeDecodeError:
        return "The path is not valid UTF-8."
    return None
