"""Cache-Control of reads (RFC 9111)."""

from config import Settings

_SCOPES = frozenset({"public", "private"})
_FOR_EVER = "max-age=31536000, immutable"  # a year, and RFC 8246


def read_cache_control(settings: Settings, *, immutable: bool = False) -> dict[str, str]:
    """Return the header of a read: CACHE_CONTROL, or if it is `immutable`, a year.

    It is `private` instead of `public` if reading needs a key. CACHE_CONTROL may forbid to store
    responses, or shared caches to do so: that holds for immutable ones as well.
    """
    directives = [part.strip() for part in settings.cache_control.split(",")]
    known = {directive.lower() for directive in directives}
    needs_key = bool(settings.api_keys) and not settings.public_reads
    if immutable and "no-store" not in known:
        scope = "private" if needs_key or "private" in known else "public"
        return {"Cache-Control": f"{scope}, {_FOR_EVER}"}
    if needs_key:
        kept = [directive for directive in directives if directive.lower() not in _SCOPES]
        return {"Cache-Control": ", ".join(["private", *kept])}
    return {"Cache-Control": settings.cache_control}
