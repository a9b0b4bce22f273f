"""The exit status of a verification is that of its worst finding."""

from scripts import verify
from services.maintenance.verification import Damage, VerifyReport


def test_unreadable_status() -> None:
    """If unreadable objects are the only unrepaired findings, the status is UNCHECKED."""
    report = VerifyReport(journaled=1)
    report.found.update([Damage.UNREADABLE, Damage.ORPHAN])
    assert verify._exit_status(report) == verify.UNCHECKED
    report.journaled = 0
    assert verify._exit_status(report) == verify.DAMAGED
