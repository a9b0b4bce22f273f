"""Cache-Control of reads (RFC 9111)."""

from config import Settings

_SCOPES = frozenset({"public", "private"})
_FOR_EVER = "max-age=31536000, immutable"  # a year, and RFC 8246


def read_cache_control(
    settings: Settings, *, private: bool, immutable: bool = False
) -> dict[str, str]:
    """Return the header of a read: CACHE_CONTROL, or if it is `immutable`, a year.

    It is `private` instead of `public` if only some may read. CACHE_CONTROL may forbid to store
    responses, or shared caches to do so: that holds for immutable ones as well.
    """
    directives = [part.strip() for part in settings.cache_control.split(",")]
    known = {directive.lower() for directive in directives}
    if immutable and "no-store" not in known:
        scope = "private" if private or "private" in known else "public"
        return {"Cache-Control": f"{scope}, {_FOR_EVER}"}
    if private:
        kept = [directive for directive in directives if directive.lower() not in _SCOPES]
        return {"Cache-Control": ", ".join(["private", *kept])}
    return {"Cache-Control": settings.cache_control}
