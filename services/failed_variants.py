"""Variants that could not be made, so that nobody makes the service try again and again.

Each process remembers its own. A new renderer comes with a new process, and tries again.
"""

import threading
import time

from errors import VariantNotFoundError

_SECONDS = 3600.0
_MOST = 10_000

_Key = tuple[str, str]  # the key of the original, and the spec


class FailedVariants:
    """The failures of the last hour, by original and spec; shared by all threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._failures: dict[_Key, tuple[float, str]] = {}

    def note(self, key: _Key, error: VariantNotFoundError) -> None:
        """Note that the variant cannot be made. The oldest of too many failures is forgotten."""
        with self._lock:
            self._failures.pop(key, None)
            self._failures[key] = time.monotonic(), error.detail
            if len(self._failures) > _MOST:
                del self._failures[next(iter(self._failures))]

    def require_promising(self, key: _Key) -> None:
        """Raise VariantNotFoundError, as the attempt did, if the variant could not be made."""
        with self._lock:
            failed_at, detail = self._failures.get(key, (0.0, ""))
        if detail and time.monotonic() - failed_at < _SECONDS:
            raise VariantNotFoundError(detail)
