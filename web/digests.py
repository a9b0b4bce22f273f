"""Integrity fields: `Content-Digest` and `Repr-Digest` (RFC 9530), SHA-256 only."""

import base64
import re

from starlette.datastructures import Headers

from errors import DigestMismatchError

_SHA256 = re.compile(r"(?:^|,)\s*sha-256=([^,;]*)")


def announced_digests(headers: Headers) -> list[bytes]:
    """Return the SHA-256 digests that a request announces. Raises DigestMismatchError."""
    lines = headers.getlist("content-digest") + headers.getlist("repr-digest")
    return [_decode(value.strip()) for line in lines for value in _SHA256.findall(line)]


def require_digests(announced: list[bytes], *actual: bytes) -> None:
    """Raise DigestMismatchError unless each announced digest is one of the actual ones."""
    if not set(announced) <= set(actual):
        raise DigestMismatchError("The upload does not have the announced SHA-256.")


def _decode(value: str) -> bytes:
    """Decode a Byte Sequence (RFC 8941 section 3.3.5)."""
    try:
        digest = base64.b64decode(value.removeprefix(":").removesuffix(":"), validate=True)
    except ValueError:
        digest = b""
    if len(digest) != 32 or not (value[0] == value[-1] == ":"):
        raise DigestMismatchError("A sha-256 digest is 32 bytes in base64 between colons.")
    return digest


def render_digest(sha256: str) -> str:
    """Render a hexadecimal SHA-256 as the value of a digest field."""
    return f"sha-256=:{base64.b64encode(bytes.fromhex(sha256)).decode()}:"
