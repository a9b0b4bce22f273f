"""One moment for botocore's signatures and for ours."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from unittest import mock

from botocore import auth


@contextmanager
def at(moment: datetime) -> Iterator[None]:
    """Let it be that moment, for botocore and for us."""
    ours = moment.replace(tzinfo=UTC).timetuple()
    with (
        mock.patch.object(time, "gmtime", return_value=ours),
        mock.patch.object(auth, "get_current_datetime", return_value=moment),
    ):
        yield
