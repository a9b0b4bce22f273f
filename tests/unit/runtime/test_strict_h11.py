"""Request heads mean the same, in whatever pieces they arrive."""

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from errors import HeadersTooLargeError, InvalidRequestError, ServiceError, UriTooLongError
from runtime.strict_h11 import StrictH11

HEAD = b"POST /images?a=b HTTP/1.1\r\nHost: example.org\r\nX-Long: " + b"x" * 300 + b"\r\n"
UPLOAD = HEAD + b"Content-Length: 5\r\n\r\nhello"


def received(*pieces: bytes) -> tuple[list[object], ServiceError | None]:
    """Return the events of these pieces, and the fault, if any."""
    connection, events = StrictH11(), list[object]()
    for piece in pieces:
        connection.receive_data(piece)
        connection.events_left = 100
        while not isinstance(event := connection.next_event(), type):  # NEED_DATA and PAUSED
            events.append(event)
    return events, connection.fault


@given(st.sets(st.integers(1, len(UPLOAD) - 1), max_size=6))
def test_any_pieces(cuts: set[int]) -> None:
    """A request may be cut into pieces anywhere."""
    ends = [*sorted(cuts), len(UPLOAD)]
    starts = [0, *ends[:-1]]
    (request, *data, end), fault = received(
        *(UPLOAD[start:stop] for start, stop in zip(starts, ends, strict=True))
    )
    assert fault is None
    assert isinstance(request, h11.Request)
    assert (request.method, request.target) == (b"POST", b"/images?a=b")
    assert b"".join(bytes(piece.data) for piece in data if isinstance(piece, h11.Data)) == b"hello"
    assert isinstance(end, h11.EndOfMessage)


@pytest.mark.parametrize(
    ("head", "error"),
    [
        (b"GET / HTTP/1.1\nHost: x\r\n\r\n", InvalidRequestError),
        (b"GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n", InvalidRequestError),
        (b"GET / HTTP/1.1\r\nHost: x y\r\n\r\n", InvalidRequestError),
        (b"GET /#a HTTP/1.1\r\nHost: x\r\n\r\n", InvalidRequestError),
        (b"GET / HTTP/1.1\r\nHost: x\r\n" + b"a: b\r\n" * 100 + b"\r\n", HeadersTooLargeError),
        (b"GET /" + b"a" * 9000, UriTooLongError),
        (b"GET / HTTP/1.1\r\nA: " + b"b" * 40_000, HeadersTooLargeError),
    ],
)
def test_fault(head: bytes, error: type[ServiceError]) -> None:
    """A head that others may read differently, or that is too large, is a permanent fault."""
    events, fault = received(head, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert events == []
    assert type(fault) is error


def test_absolute_form() -> None:
    """A target in absolute form becomes a path, and its host counts (RFC 9112 section 3.2.2)."""
    (request, _), _ = received(b"GET http://a.example/b?c HTTP/1.1\r\nHost: other\r\n\r\n")
    assert isinstance(request, h11.Request)
    assert request.target == b"/b?c"
    assert [value for name, value in request.headers if name == b"host"] == [b"a.example"]


def test_events_left() -> None:
    """A body in tiny chunks yields no more events in one turn than `events_left`."""
    connection = StrictH11()
    connection.receive_data(
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\na\r\n" * 9
    )
    connection.events_left = 4
    events = [connection.next_event() for _ in range(6)]
    assert [event is h11.NEED_DATA for event in events] == [False] * 4 + [True] * 2
