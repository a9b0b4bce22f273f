"""Variants that could not be made. The service does not try them again for an hour.

Each process remembers its own failures, so a new release tries all variants again.
"""

import threading
import time

from errors import VariantNotFoundError

_SECONDS = 3600.0
_MAX_FAILURES = 10_000

_Key = tuple[str, str]  # the key of the original, the spec


class FailedVariants:
    """The failures of the last hour; shared by all threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._failures: dict[_Key, tuple[float, str]] = {}

    def note(self, key: _Key, error: VariantNotFoundError) -> None:
        """Record that the variant cannot be made. Too many failures displace the oldest one."""
        with self._lock:
            self._failures.pop(key, None)
            self._failures[key] = time.monotonic(), error.detail
            if len(self._failures) > _MAX_FAILURES:
                del self._failures[next(iter(self._failures))]

    def require_promising(self, key: _Key) -> None:
        """Raise the VariantNotFoundError of the last attempt, if it failed within the hour."""
        with self._lock:
            failed_at, detail = self._failures.get(key, (0.0, ""))
        if detail and time.monotonic() - failed_at < _SECONDS:
            raise VariantNotFoundError(detail)
