"""Cache-Control of reads (RFC 9111)."""

from config import Settings


def read_cache_control(settings: Settings) -> dict[str, str]:
    """Return CACHE_CONTROL as a header; `private` instead of `public` if reading needs a key."""
    directives = settings.cache_control
    if settings.api_keys and not settings.public_reads:
        parts = [part.strip() for part in directives.split(",")]
        directives = ", ".join(["private", *(part for part in parts if part.lower() != "public")])
    return {"Cache-Control": directives}
