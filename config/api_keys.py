"""API keys as configured in `API_KEYS`, and on the lines of `API_KEYS_FILE`.

A worker reads them when it starts. A variable that is set must have a key, because without keys the
service is open.
"""

import hashlib
import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path
from typing import Literal, NamedTuple, Self, get_args

Scope = Literal["read", "write"]
SCOPES: tuple[Scope, ...] = get_args(Scope)

_SHA256_OF_NOTHING = hashlib.sha256(b"").hexdigest()
# The characters that no image name has (`services.names`).
_NEVER_IN_NAMES = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff/\\\\]")
_MAX_NAME_BYTES = 255


class ApiKey(NamedTuple):
    """The key of a client: its name in the log, its scope, and its SHA-256 in hex.

    A key with a `prefix` is limited to images whose names begin with it.
    """

    name: str
    scope: Scope
    sha256: str
    prefix: str = ""

    @classmethod
    def parse(cls, line: str) -> Self:
        """Read `name:scope:sha256` or `name:scope:sha256:prefix`.

        Raises ValueError; its message repeats no secret.
        """
        if line.count(":") < 2:  # a key itself, perhaps, which no message may repeat
            raise ValueError("needs lines of the form name:scope:sha256")
        name, _, rest = line.lstrip().partition(":")
        scope, _, rest = rest.partition(":")
        digest, colon, prefix = (rest if ":" in rest else rest.rstrip()).partition(":")
        if not re.fullmatch("[A-Za-z0-9._-]{1,64}", name):
            raise ValueError("needs names of letters, digits, dots, dashes and underscores")
        if scope not in SCOPES:
            raise ValueError(f"needs the scope {' or '.join(SCOPES)} for the key {name}")
        if not re.fullmatch("[0-9a-f]{64}", digest):
            raise ValueError(f"needs a SHA-256 of 64 hexadecimal digits for the key {name}")
        if digest == _SHA256_OF_NOTHING:
            raise ValueError(f"has the SHA-256 of an empty key for the key {name}")
        prefix = unicodedata.normalize("NFC", prefix)
        if colon and not _begins_names(prefix):
            raise ValueError(
                f"needs a prefix that names can have, without spaces around it, for the key {name}"
            )
        return cls(name, scope, digest, prefix)

    @property
    def line(self) -> str:
        """The line that `parse` reads."""
        return ":".join(self if self.prefix else self[:-1])

    def covers(self, name: str) -> bool:
        """Whether the key allows the image `name`, in the form in which the name is stored."""
        return name.startswith(self.prefix)


def _begins_names(prefix: str) -> bool:
    """Whether image names can begin with `prefix`.

    An empty prefix would cover every name, and one without its trailing space more than intended.
    """
    return bool(
        prefix
        and prefix == prefix.strip()
        and not _NEVER_IN_NAMES.search(prefix)
        and len(prefix.encode()) <= _MAX_NAME_BYTES
    )


def parse_keys(text: str) -> tuple[ApiKey, ...]:
    """Read comma-separated keys. Raises ValueError, including if there is none."""
    return _parse_each(text.split(","))


def read_keys(file: str) -> tuple[ApiKey, ...]:
    """Read a file with a key on each line. Raises ValueError, including if there is none."""
    try:
        lines = Path(file).read_text("utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as exc:
        raise ValueError(f"cannot be read: {exc}") from None
    return _parse_each(line for line in lines if not line.lstrip().startswith("#"))


def _parse_each(lines: Iterable[str]) -> tuple[ApiKey, ...]:
    keys = tuple(ApiKey.parse(line) for line in lines if line.strip())
    if not keys:
        raise ValueError("has no key; unset it to leave the service open to all who reach it")
    return require_distinct(keys)


def require_distinct(keys: tuple[ApiKey, ...]) -> tuple[ApiKey, ...]:
    """Return `keys`. Raises ValueError if two lines of one secret do not allow the same."""
    by_secret: dict[str, ApiKey] = {}
    for key in keys:
        other = by_secret.setdefault(key.sha256, key)
        if (other.scope, other.prefix) != (key.scope, key.prefix):
            raise ValueError(
                f"gives one key different rights, under the names {other.name} and {key.name}"
            )
    return keys
