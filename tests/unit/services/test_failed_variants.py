"""After a failure, the service refuses a variant for an hour."""

import time

import pytest

from errors import VariantNotFoundError
from services import failed_variants
from services.failed_variants import FailedVariants

KEY = ("images/a", "r3/320.webp")


def test_refused_for_an_hour(monkeypatch: pytest.MonkeyPatch) -> None:
    """For an hour the same variant of the same object gets the same error."""
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    failures = FailedVariants()
    failures.require_promising(KEY)
    failures.note(KEY, VariantNotFoundError("No variant of it can be made"))
    now += 3599
    with pytest.raises(VariantNotFoundError, match="can be made"):
        failures.require_promising(KEY)
    failures.require_promising(("images/a", "r3/160.webp"))
    failures.require_promising(("images/b", "r3/320.webp"))
    now += 2
    failures.require_promising(KEY)


def test_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Too many failures displace the oldest one, which bounds the memory."""
    monkeypatch.setattr(failed_variants, "_MAX_FAILURES", 2)
    failures = FailedVariants()
    for name in "abac":
        failures.note((name, "r3/320.webp"), VariantNotFoundError())
    failures.require_promising(("b", "r3/320.webp"))
    for name in "ac":
        with pytest.raises(VariantNotFoundError):
            failures.require_promising((name, "r3/320.webp"))
