"""Who sent a request."""

from contextvars import ContextVar
from dataclasses import dataclass

from config import ApiKey, Settings
from services.image_store import Uploader
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
