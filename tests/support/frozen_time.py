"""One moment for the signatures of botocore."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from unittest import mock

from botocore import auth


@contextmanager
def at(moment: datetime) -> Iterator[None]:
    """Let it be that moment for botocore."""
    with mock.patch.object(auth, "get_current_datetime", return_value=moment):
        yield
