"""The secrets that sign links, as configured in `LINK_SECRETS`."""

# As long as the digest: a shorter key weakens HMAC-SHA-256 (RFC 2104 section 3).
_MIN_BYTES = 32


def parse_secrets(text: str) -> tuple[str, ...]:
    """Read comma-separated secrets. Raises ValueError; its message repeats no secret.

    An empty value is an error, so that losing the value by accident does not revoke every link.
    """
    secrets = tuple(part.strip() for part in text.split(",") if part.strip())
    if not secrets:
        raise ValueError("has no secret; unset it to have no links")
    try:
        shortest = min(len(secret.encode()) for secret in secrets)
    except UnicodeEncodeError:
        raise ValueError("is not valid UTF-8") from None
    if shortest < _MIN_BYTES:
        raise ValueError(f"needs secrets of at least {_MIN_BYTES} bytes")
    return secrets
