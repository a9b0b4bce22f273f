"""API keys for tests."""

import hashlib

from config import ApiKey


def api_key(line: str, token: str) -> ApiKey:
    """Return the key `token` as `line` describes it: `name:scope` or `name:scope:prefix`."""
    name, scope, *prefix = line.split(":", 2)
    return ApiKey.parse(
        ":".join([name, scope, hashlib.sha256(token.encode()).hexdigest(), *prefix])
    )


def bearer(token: str | None) -> dict[str, str]:
    """Return the Authorization header for a key."""
    return {"Authorization": f"Bearer {token}"} if token else {}
