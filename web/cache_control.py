"""Cache-Control and Vary of reads (RFC 9111)."""

from collections.abc import Iterator

from config import Settings

_SCOPES = frozenset({"public", "private"})
_FOR_EVER = ("max-age=31536000", "immutable")  # a year, and RFC 8246
_BEYOND = frozenset({"s-maxage", "stale-while-revalidate", "stale-if-error"})


def read_cache_control(
    settings: Settings, *, private: bool, versioned: bool = False, seconds: int | None = None
) -> dict[str, str]:
    """Return the header of a read: CACHE_CONTROL, or a year if the address has a version.

    It is `private` instead of `public` if not everybody may read. `no-store` and `private` in
    CACHE_CONTROL also apply to versions. If `seconds` is given, caches keep the response no longer.
    """
    directives = [part.strip() for part in settings.cache_control.split(",")]
    known = {directive.lower() for directive in directives}
    if versioned and "no-store" not in known:
        scope = "private" if private or "private" in known else "public"
        directives = [scope, *_FOR_EVER]
    elif private:
        kept = [directive for directive in directives if directive.lower() not in _SCOPES]
        directives = ["private", *kept]
    else:
        return {"Cache-Control": settings.cache_control}
    if seconds is not None:
        directives = list(_shortened(directives, seconds))
    return {"Cache-Control": ", ".join(directives)}


def vary_by_key(settings: Settings) -> dict[str, str]:
    """Return the header of a response that depends on the key, if there are keys.

    Without it, the cache of a browser would return what one key may see to another key, or to none.
    """
    return {"Vary": "Authorization"} if settings.api_keys else {}


def _shortened(directives: list[str], seconds: int) -> Iterator[str]:
    """Yield the directives, limited to `seconds`, without those that could extend them."""
    bounded = False
    for directive in directives:
        name, _, value = directive.lower().partition("=")
        if name == "max-age":
            yield f"max-age={min(int(value), seconds) if value.isdecimal() else 0}"
        elif name not in _BEYOND:
            yield directive
        bounded |= name in {"max-age", "no-cache", "no-store"}
    if not bounded:
        yield "max-age=0"  # prevents heuristic freshness (RFC 9111 section 4.2.2)
