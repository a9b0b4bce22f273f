"""The dates of a new row."""

from datetime import UTC, datetime, timedelta

from services.origin import HERE, Origin

NOW = datetime(2026, 1, 2, 3, 4, 5, 6, UTC)
OLD, FUTURE = NOW - timedelta(days=900), NOW + timedelta(days=900)


def dates(origin: Origin, not_before: datetime | None = None) -> tuple[datetime, datetime]:
    """Return `created_at` and `last_updated_at` of a row that is written now."""
    values = origin.first_values(NOW, not_before=not_before)
    return values["created_at"], values["last_updated_at"]


def test_dates() -> None:
    """Dates are kept, unless they are in the future or contradict each other."""
    assert dates(HERE) == (NOW, NOW)
    assert dates(Origin(created_at=OLD)) == (OLD, NOW)
    assert dates(Origin(OLD, OLD + timedelta(1))) == (OLD, OLD + timedelta(1))
    assert dates(Origin(FUTURE, FUTURE)) == (NOW, NOW)
    assert dates(Origin(NOW, OLD)) == (OLD, OLD)


def test_after_a_deletion() -> None:
    """A name that was just deleted gets a later date than the deleted image."""
    ahead = NOW + timedelta(seconds=1)
    assert dates(HERE, ahead) == (ahead, ahead)
    assert dates(Origin(OLD, OLD), ahead) == (OLD, ahead)
