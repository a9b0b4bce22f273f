"""Every error has a code of its own."""

import re

import pytest

import errors
from errors import DatabaseUnavailableError, ServiceError, UnavailableError

CODED = [
    error
    for error in vars(errors).values()
    if isinstance(error, type) and issubclass(error, ServiceError) and "code" in vars(error)
]


def test_codes() -> None:
    """No two errors have the same code, and clients can use codes as identifiers."""
    codes = [error.code for error in CODED]
    assert len(codes) > 30
    assert len(set(codes)) == len(codes)
    assert [code for code in codes if not re.fullmatch("[a-z]+(_[a-z]+)*", code)] == []


@pytest.mark.parametrize("error", CODED)
def test_titles(error: type[ServiceError]) -> None:
    """A title is one short line without a full stop, and the status is an error status."""
    assert re.fullmatch(r"[A-Z][^\n]{3,60}(?<!\.)", error.title)
    assert 400 <= error.status <= 599


def test_retry_after() -> None:
    """A temporary error tells clients when to retry."""
    assert DatabaseUnavailableError().headers["Retry-After"] == str(UnavailableError.retry_after)
    assert "Retry-After" not in ServiceError().headers
