"""The dates and the creator that an image keeps when it is imported."""

from datetime import UTC, datetime
from typing import Any, NamedTuple

# MySQL has no dates before the year 1000, and archives may have any.
_EARLIEST = datetime(1900, 1, 1, tzinfo=UTC)


class Origin(NamedTuple):
    """What is known about an image from before it was stored here; None if unknown."""

    created_at: datetime | None = None
    last_updated_at: datetime | None = None
    created_by: str | None = None

    def first_values(self, now: datetime, *, not_before: datetime | None = None) -> dict[str, Any]:
        """Return the values of a new row that is written `now`.

        Dates are between 1900 and `now`, but `last_updated_at` is at least `not_before`.
        """
        updated = max(min(self.last_updated_at or now, now), not_before or _EARLIEST)
        return {
            "created_at": max(min(self.created_at or updated, updated), _EARLIEST),
            "last_updated_at": updated,
            "created_by": self.created_by,
        }


HERE = Origin()
"""The origin of an image that is not imported"""
