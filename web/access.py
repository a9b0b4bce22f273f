"""Who sent a request, and which images that allows."""

from contextvars import ContextVar
from dataclasses import dataclass

from config import ApiKey, Settings
from errors import ForeignImageError
from services.names import normalise_name
from telemetry.request_waits import note_image


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sent a request: the holder of an API key, or anybody."""

    key: ApiKey | None = None

    @property
    def name(self) -> str:
        """The name for the log."""
        return self.key.name if self.key else "-"

    @property
    def creator(self) -> str | None:
        """The name that an image keeps of its first upload."""
        return self.key.name if self.key else None


_ANYBODY = Caller()
caller: ContextVar[Caller] = ContextVar("caller", default=_ANYBODY)


def is_public(settings: Settings, *, by_name: bool) -> bool:
    """Whether a read needs no key: of one image `by_name`, or of those that a listing finds."""
    public = settings.public_reads
    return not settings.api_keys or public is True or (by_name and public == "images")


def admit_upload(name: str) -> None:
    """Refuse the name of an upload before anything is stored; the log names it.

    Raises InvalidNameError or ForeignImageError.
    """
    name, key = normalise_name(name), caller.get().key
    note_image(name)
    if key and not key.covers(name):
        raise ForeignImageError(key.prefix)


def listed_prefix(prefix: str, settings: Settings) -> str:
    """Return the prefix that a page asked for with `prefix` has: the longer of it and the key's.

    Raises ForeignImageError if they exclude each other.
    """
    key = caller.get().key
    if key is None or is_public(settings, by_name=False) or prefix.startswith(key.prefix):
        return prefix
    if key.prefix.startswith(prefix):
        return key.prefix
    raise ForeignImageError(key.prefix)
