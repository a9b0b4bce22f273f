"""Each response has the Date of its own beginning."""

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from web.date_header import DatedHeaders

SERVER, OURS = (b"server", b"x"), (b"etag", b'"a"')


def test_date() -> None:
    """The Date is that of the moment at which the headers of the response are added."""
    headers = DatedHeaders([SERVER])
    begun = datetime.now(UTC).replace(microsecond=0)
    first, (name, value), last = headers + [OURS]  # noqa: RUF005 - uvicorn adds them so
    assert (first, name, last) == (SERVER, b"date", OURS)
    assert begun <= parsedate_to_datetime(value.decode()) <= datetime.now(UTC)


def test_one_date() -> None:
    """The Date that uvicorn adds is dropped."""
    headers = [(b"date", b"earlier")] + DatedHeaders([SERVER])  # noqa: RUF005 - as above
    assert [name for name, _ in headers] == [b"server"]
