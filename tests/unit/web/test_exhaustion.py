"""Only an exhausted host counts as exhausted."""

import errno

import pytest

from errors import OutOfResourcesError
from web.exhaustion import exhaustion


@pytest.mark.parametrize(
    "error",
    [OSError(errno.ENOSPC, ""), OSError(errno.EMFILE, ""), MemoryError()],
    ids=["no space", "too many files", "no memory"],
)
def test_exhausted(error: Exception) -> None:
    """An exhausted host is a temporary error, whose cause is kept for the log."""
    found = exhaustion(error)
    assert isinstance(found, OutOfResourcesError)
    assert found.__cause__ is error


@pytest.mark.parametrize("error", [OSError(errno.ENOENT, ""), ValueError(), RuntimeError("thread")])
def test_bug(error: Exception) -> None:
    """Any other exception is a bug."""
    assert exhaustion(error) is None
