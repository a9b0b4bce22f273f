"""Who sent a request, and which images that allows."""

from contextvars import ContextVar
from dataclasses import dataclass

from config import ApiKey, Settings
from errors import ForeignImageError
from services.image_store import Uploader
from services.names import normalise_name
from telemetry.request_waits import note_image
from web.signed_links import SignedLink


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sent a request: anybody, or who has an API key, or the signed link that it needs."""

    key: ApiKey | None = None
    link: SignedLink | None = None

    @property
    def name(self) -> str:
        """The name for the log; no key has one in parentheses."""
        if self.link:
            return "(link)"
        return self.key.name if self.key else "-"

    @property
    def uploader(self) -> Uploader:
        """As whom they upload."""
        may_replace = self.link is None or self.link.replace
        return Uploader(self.key.name if self.key else None, may_replace)

    def upload_settings(self, settings: Settings) -> Settings:
        """Return the settings of an upload, limited as the link says."""
        if self.link is None or self.link.max_bytes is None:
            return settings
        most = min(self.link.max_bytes, settings.max_upload_bytes)
        return settings.model_copy(update={"max_upload_bytes": most})


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
