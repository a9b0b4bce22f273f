"""What the head of a request may be: the request line and the headers (RFC 9112 section 2.1).

How long it may take to arrive is said in http_protocol.py, how many connections there may be in
connections.py.
"""

import re

from errors import HeadersTooLargeError, InvalidRequestError, UriTooLongError

_HEAD_BYTES = 32 * 1024
_END_OF_HEAD = b"\r\n\r\n"
_REQUEST_LINE_BYTES = 8 * 1024
_HEADER_LINES = 100
# uri-host [ ":" port ] (RFC 9110 section 7.2), as far as its characters go
_HOST = re.compile(rb"[\w.~!$&'()*+,;=%\[\]:-]*", re.ASCII)


def measure_head(unread: bytearray, searched: int) -> int:
    """Return the length of the head that `unread` begins with, 0 where its end has not come.

    In the first `searched` bytes it does not end. Raises UriTooLongError, HeadersTooLargeError, or
    InvalidRequestError where there can be no head.
    """
    end = unread.find(_END_OF_HEAD, max(0, searched - 3))
    size = len(unread) if end < 0 else end + len(_END_OF_HEAD)
    if not unread[:1].isupper() and unread.strip(b"\r"):  # such as TLS
        raise InvalidRequestError("This is not HTTP/1.1.")
    longest = _REQUEST_LINE_BYTES + 2
    if size > longest and unread.find(b"\r\n", 0, longest) < 0:
        raise UriTooLongError(f"A request line may have at most {_REQUEST_LINE_BYTES} bytes.")
    if size > _HEAD_BYTES:
        raise HeadersTooLargeError(f"A request's head may have at most {_HEAD_BYTES} bytes.")
    if end < 0:
        return 0
    if unread.count(b"\r\n", 0, size) - 2 > _HEADER_LINES:
        raise HeadersTooLargeError(f"A request may have at most {_HEADER_LINES} header lines.")
    return size


def body_length(version: str, headers: list[tuple[bytes, bytes]]) -> int | None:
    """Return how many bytes follow a head, None for chunks.

    The parser has refused what RFC 9112 section 6 forbids of Content-Length. Raises
    InvalidRequestError.
    """
    if version not in {"1.1", "1.0"}:
        raise InvalidRequestError("This service speaks HTTP/1.1.")
    hosts = [value for name, value in headers if name == b"host"]
    if len(hosts) != 1 and (hosts or version == "1.1"):
        raise InvalidRequestError("A request has one Host header.")
    if hosts and not _HOST.fullmatch(hosts[0]):
        raise InvalidRequestError("The Host header is malformed.")
    fields = dict(headers)
    coding = fields.get(b"transfer-encoding")
    if coding is None:
        return int(fields.get(b"content-length", b"0"))
    if version == "1.0":
        raise InvalidRequestError("HTTP/1.0 has no transfer codings.")
    if coding.lower() != b"chunked":
        raise InvalidRequestError("The only transfer coding is chunked.")
    return None
