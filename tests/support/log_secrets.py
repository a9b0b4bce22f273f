"""Finds secrets in logs: credentials, tokens and presigned URLs."""

import re
from collections.abc import Mapping

from sqlalchemy import make_url

_SHAPES = [
    re.compile(r"X-Amz-(Signature|Credential|Security-Token)=", re.IGNORECASE),
    re.compile(r"Signature=[0-9a-f]{16}"),
    re.compile(r"Bearer (?!realm)[\w.~+/-]{4,}"),
    re.compile(r"Basic [A-Za-z0-9+/]{6,}"),
    re.compile(r"\bsig=[\w-]{43}"),
]
_SHORTEST = 6  # characters: shorter values, such as test passwords, appear in logs by chance


def secrets_in(log: str, environment: Mapping[str, str]) -> list[str]:
    """Return the secrets of this environment that appear in the log, truncated."""
    names = ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "LINK_SECRETS")
    values = [environment.get(name, "") for name in names]
    if "@" in (url := environment.get("DB_URL", "")):
        values.append(str(make_url(url).password or ""))
    found = [value[:3] + "..." for value in values if len(value) >= _SHORTEST and value in log]
    return found + [match[0] for shape in _SHAPES for match in shape.finditer(log)]
