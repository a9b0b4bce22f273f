"""API keys as configured: in `API_KEYS`, and on the lines of `API_KEYS_FILE`.

A worker reads them when it starts.
"""

import re
from pathlib import Path
from typing import Literal, NamedTuple, Self


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
        return cls(name, scope, digest)  # type: ignore[arg-type]


def lines_of_file(file: str) -> list[str]:
    """Return the keys in a file, without its comments. Raises ValueError."""
    try:
        lines = Path(file).read_text().splitlines()
    except (OSError, UnicodeDecodeError) as exc:
        raise ValueError(f"API_KEYS_FILE cannot be read: {exc}") from None
    return [line for line in lines if not line.startswith("#")]
