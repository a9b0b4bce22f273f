"""Retries while the database, a store or the decoders are unavailable."""

import time
from collections.abc import Callable
from typing import TypeVar

from errors import UnavailableError, WriteConflictError

_Result = TypeVar("_Result")

_ATTEMPTS = 4


def patiently(work: Callable[[], _Result]) -> _Result:
    """Call `work`, and repeat it after temporary errors. Raises the error of the last attempt."""
    for _ in range(_ATTEMPTS - 1):
        try:
            return work()
        except (UnavailableError, WriteConflictError) as exc:
            time.sleep(exc.retry_after or 1)
    return work()
