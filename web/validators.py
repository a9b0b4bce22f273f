"""The validators ETag and Last-Modified (RFC 9110 section 8.8)."""

from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime

from services.image_store import ImageRecord


@dataclass(frozen=True, slots=True)
class Validators:
    """The validators of a version of a representation. `etag` is strong and quoted."""

    etag: str
    last_modified: datetime

    def headers(self) -> dict[str, str]:
        """Return ETag and Last-Modified, never in the future (RFC 9110 section 8.8.2.1)."""
        moment = min(self.last_modified, datetime.now(UTC))
        return {"ETag": self.etag, "Last-Modified": format_datetime(moment, usegmt=True)}


def image_validators(image: ImageRecord) -> Validators:
    """Return the validators of the bytes of an image."""
    return Validators(f'"{image.sha256}"', image.last_updated_at)
