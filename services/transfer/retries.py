"""Patience with the database, the stores and the decoders."""

import time
from collections.abc import Callable
from typing import TypeVar

from errors import UnavailableError, WriteConflictError

_Result = TypeVar("_Result")

_ATTEMPTS = 4


def patiently(work: Callable[[], _Result]) -> _Result:
    """Call `work` again while it is temporarily impossible, as a client of the API would.

    Raises what the last attempt raises.
    """
    for _ in range(_ATTEMPTS - 1):
        try:
            return work()
        except (UnavailableError, WriteConflictError) as exc:
            time.sleep(exc.retry_after or 1)
    return work()
