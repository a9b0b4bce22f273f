"""API keys as configured: in `API_KEYS`, and on the lines of `API_KEYS_FILE`.

A worker reads them when it starts. A source that is set must have a key, because without keys the
service is open.
"""

import hashlib
import re
from pathlib import Path
from typing import Literal, NamedTuple, Self

_SHA256_OF_NOTHING = hashlib.sha256(b"").hexdigest()


class ApiKey(NamedTuple):
    """A key that clients may have: its name in the log, its scope, and its SHA-256 in hex."""

    name: str
    scope: Literal["read", "write"]
    sha256: str

    @classmethod
    def parse(cls, line: str) -> Self:
        """Read `name:scope:sha256`. Raises ValueError; its message repeats no secret."""
        name, _, rest = line.strip().partition(":")
        scope, _, digest = rest.partition(":")
        if not re.fullmatch("[A-Za-z0-9._-]{1,64}", name):
            raise ValueError("needs names of letters, digits, dots, dashes and underscores")
        if scope not in {"read", "write"}:
            raise ValueError(f"needs the scope read or write for the key {name}")
        if not re.fullmatch("[0-9a-f]{64}", digest):
            raise ValueError(f"needs a SHA-256 of 64 hexadecimal digits for the key {name}")
        if digest == _SHA256_OF_NOTHING:
            raise ValueError(f"has the SHA-256 of an empty key for the key {name}")
        return cls(name, scope, digest)  # type: ignore[arg-type]


def parse_keys(text: str) -> tuple[ApiKey, ...]:
    """Read comma-separated keys. Raises ValueError, also if there is none."""
    keys = tuple(ApiKey.parse(part) for part in text.split(",") if part.strip())
    if not keys:
        raise ValueError("has no key; unset it to leave the service open to all who reach it")
    return keys


def read_keys(file: str) -> tuple[ApiKey, ...]:
    """Read the lines of a file that are no comments. Raises ValueError, also if there is none."""
    try:
        lines = Path(file).read_text("utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as exc:
        raise ValueError(f"cannot be read: {exc}") from None
    return parse_keys(",".join(line for line in lines if not line.lstrip().startswith("#")))
