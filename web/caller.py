"""Who sent a request."""

from contextvars import ContextVar
from dataclasses import dataclass

from config import ApiKey
from services.image_store import Uploader
from web.signed_links import SignedLink


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sent a request: the holder of an API key or of a link, or an anonymous client."""

    key: ApiKey | None = None
    link: SignedLink | None = None

    @property
    def name(self) -> str:
        """The name for the log. No API key has a name in parentheses."""
        if self.link:
            return "(link)"
        return self.key.name if self.key else "-"

    @property
    def uploader(self) -> Uploader:
        """The caller as the use case of an upload knows it."""
        may_replace = self.link is None or self.link.replace
        return Uploader(self.key.name if self.key else None, may_replace)


_ANYBODY = Caller()
caller: ContextVar[Caller] = ContextVar("caller", default=_ANYBODY)
