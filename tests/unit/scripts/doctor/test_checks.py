"""The doctor compares clocks, and knows a warning from a failure."""

from datetime import UTC, datetime, timedelta

import pytest

from scripts.doctor.checks import CheckFailed, CheckWarning, Status, compare_clock


@pytest.mark.parametrize(("minutes", "sign"), [(-1, "-"), (1, "+")])
def test_wrong_clock(minutes: int, sign: str) -> None:
    """A clock that is a minute off is a warning, which says in which direction."""
    with pytest.raises(CheckWarning, match=r"^.[\d.]+ s from ours$") as warning:
        compare_clock(datetime.now(UTC) + timedelta(minutes=minutes))
    assert str(warning.value).startswith(sign)


def test_right_clock() -> None:
    """A clock that is right says by how much it differs."""
    assert compare_clock(datetime.now(UTC)).endswith(" s from ours")


def test_statuses() -> None:
    """A warning is no failure, and only a failure is written in capitals."""
    assert (CheckWarning("").status, CheckFailed("").status) == (Status.WARNING, Status.FAILED)
    assert [status for status in Status if status.isupper()] == [Status.FAILED]
