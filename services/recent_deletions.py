"""The dates of the images that this process deleted within the last seconds.

Last-Modified has a resolution of one second, and a name may be deleted and reused within one. Each
process knows only its own deletions.
"""

import threading
import time
from datetime import datetime

from repositories.images import ImageRecord

_SECONDS = 5.0  # a version may be dated one second ahead


class RecentDeletions:
    """The deletions of the last seconds, by name; shared by all threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._deletions: dict[str, tuple[float, datetime]] = {}

    def note(self, image: ImageRecord) -> None:
        """Record that `image` is about to be deleted."""
        now = time.monotonic()
        with self._lock:
            self._deletions.pop(image.name, None)
            self._deletions[image.name] = now, image.last_updated_at
            for name, (noted, _) in list(self._deletions.items()):
                if now - noted < _SECONDS:
                    break
                del self._deletions[name]

    def last_stored(self, name: str) -> datetime | None:
        """Return when the deleted image of that name was last stored; None if unknown."""
        with self._lock:
            return self._deletions.get(name, (0.0, None))[1]
