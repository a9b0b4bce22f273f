"""h11 with stricter rules for request heads."""

import re
from typing import Any

import h11

from errors import HeadersTooLargeError, InvalidRequestError, ServiceError, UriTooLongError

_HEAD_BYTES, _REQUEST_LINE_BYTES, _HEADER_LINES = 32 * 1024, 8 * 1024, 100
_ABSOLUTE_FORM = re.compile(rb"(?i:https?)://([^/?#]+)/?(.*)")  # RFC 9112 section 3.2.2
_NOT_HTTP = "This is not HTTP/1.1."
_HOST = re.compile(rb"[\w.~!$&'()*+,;=%\[\]:-]*", re.ASCII)  # RFC 9110 section 7.2


class StrictH11(h11.Connection):
    """The server's side of h11. It keeps a fault in `fault` instead of raising it.

    It returns at most `events_left` events, so that a body in tiny chunks delays nobody else.
    `request_waits` is set if the client has already sent its next request.
    """

    def __init__(self) -> None:
        super().__init__(h11.SERVER, _HEAD_BYTES)
        self.fault: ServiceError | None = None
        self.events_left = 0
        self.request_waits = False

    def next_event(self) -> Any:
        """Return the next event, or NEED_DATA if there is none, after a fault, or out of turn."""
        if self.fault or not self.events_left or self.their_state is h11.MUST_CLOSE:
            return h11.NEED_DATA
        self.events_left -= 1
        head = self.trailing_data[0] if self.their_state is h11.IDLE else b""
        try:
            _bound(head)
            event = super().next_event()
            if isinstance(event, h11.Request):
                if not event.target.startswith(b"/"):
                    event = _in_origin_form(event)
                _verify(event, head[: len(head) - len(self.trailing_data[0])])
        except h11.RemoteProtocolError as exc:
            too_large = exc.error_status_hint == HeadersTooLargeError.status
            self.fault = HeadersTooLargeError() if too_large else InvalidRequestError(_NOT_HTTP)
        except ServiceError as exc:
            self.fault = exc
        else:
            self.request_waits = event is h11.PAUSED
            return event
        return h11.NEED_DATA


def _bound(head: bytes) -> None:
    if len(head) > _REQUEST_LINE_BYTES and b"\n" not in head[: _REQUEST_LINE_BYTES + 2]:
        raise UriTooLongError
    if len(head) > _HEAD_BYTES and b"\r\n\r\n" not in head[:_HEAD_BYTES]:
        raise HeadersTooLargeError


def _in_origin_form(request: h11.Request) -> h11.Request:
    if not (match := _ABSOLUTE_FORM.fullmatch(request.target)):
        return request
    headers = [(b"host", match[1]), *(field for field in request.headers if field[0] != b"host")]
    return h11.Request(
        method=request.method,
        target=b"/" + match[2],
        headers=headers,
        http_version=request.http_version,
    )


def _verify(request: h11.Request, head: bytes) -> None:
    """Refuse a head that h11 accepts but other parsers refuse or read differently.

    h11 accepts folded lines, lines that end in LF, chunks beside a length, and any version, Host
    and target (RFC 9112 sections 2.2, 3.2, 5.2 and 6.1).
    """
    fields = {name.lower(): value for name, value in request.headers.raw_items()}
    lines = head.count(b"\r\n")
    if len(request.headers) > _HEADER_LINES:
        raise HeadersTooLargeError
    chunked, old = b"transfer-encoding" in fields, request.http_version == b"1.0"
    if (
        head.count(b"\n") > lines
        or b"\n " in head
        or b"\n\t" in head
        or request.http_version not in {b"1.0", b"1.1"}
        or (chunked and (old or b"content-length" in fields))
        or not _HOST.fullmatch(fields.get(b"host", b""))
        or not request.target.startswith(b"/")
        or b"#" in request.target
    ):
        raise InvalidRequestError(_NOT_HTTP)
