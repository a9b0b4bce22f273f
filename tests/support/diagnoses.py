"""Runs `scripts.doctor` and selects results for its tests."""

from config import Settings
from scripts.doctor import __main__ as doctor
from scripts.doctor.checks import Status


def examined(settings: Settings) -> dict[str, doctor.Result]:
    """Run every check of the doctor; return the results by title."""
    results = list(doctor.examine(settings))
    by_title = {result.title: result for result in results}
    assert len(by_title) == len(results), "two checks have the same title"
    return by_title


def problems(settings: Settings) -> dict[str, doctor.Result]:
    """Return the results with a status other than OK."""
    found = examined(settings).items()
    return {title: result for title, result in found if result.status is not Status.OK}


def failures(settings: Settings) -> dict[str, str]:
    """Return the recommended fix of each failed check, by title."""
    found = problems(settings).items()
    return {title: result.fix for title, result in found if result.status is Status.FAILED}
