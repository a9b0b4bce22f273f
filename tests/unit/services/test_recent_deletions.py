"""For some seconds a process remembers the dates of the images that it deleted."""

import time
from datetime import timedelta

import pytest

from services.recent_deletions import RecentDeletions
from tests.support.records import IMAGE, STORED


def test_noted() -> None:
    """The last deletion of a name counts."""
    deletions = RecentDeletions()
    assert deletions.last_stored("a") is None
    later = STORED + timedelta(seconds=1)
    for moment in (STORED, later):
        deletions.note(IMAGE._replace(last_updated_at=moment))
    assert deletions.last_stored("a") == later
    assert deletions.last_stored("b") is None


def test_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each deletion discards the outdated ones, which bounds the memory."""
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    deletions = RecentDeletions()
    for name in ("a", "b", "a"):
        deletions.note(IMAGE._replace(name=name))
        now += 3
    deletions.note(IMAGE._replace(name="c"))
    assert [deletions.last_stored(name) for name in "abc"] == [STORED, None, STORED]
