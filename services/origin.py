"""What a new image brings along from the place that it comes from."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple, Self

# MySQL has no dates before the year 1000, and archives may have any.
_EARLIEST = datetime(1900, 1, 1, tzinfo=UTC)


class Origin(NamedTuple):
    """What is known of an image that existed before it was stored here; None for what is not."""

    created_at: datetime | None = None
    last_updated_at: datetime | None = None
    created_by: str | None = None

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        """Return the origin of an image whose row had these values."""
        return cls(**{key: values.get(key) for key in cls._fields})

    def first_values(self, now: datetime, *, not_before: datetime | None = None) -> dict[str, Any]:
        """Return the values of a new row that is written `now`.

        Dates are never in the future, nor before 1900. `last_updated_at` is `not_before`, if given,
        or later.
        """
        updated = max(min(self.last_updated_at or now, now), _EARLIEST)
        if not_before and updated < not_before:
            updated = not_before
        return {
            "created_at": max(min(self.created_at or updated, updated), _EARLIEST),
            "last_updated_at": updated,
            "created_by": self.created_by,
        }


HERE = Origin()
"""The origin of an image whose first upload is this one"""
