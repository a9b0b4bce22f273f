"""A refusal by the connection itself is a complete response."""

import json
import socket
from http.client import HTTPResponse

from errors import HeadersTooLargeError
from web.connection_refusals import render_refusal


def test_whole_response() -> None:
    """The response has status, headers and a problem document, and closes the connection."""
    service, client = socket.socketpair()
    with service, client:
        service.sendall(render_refusal(HeadersTooLargeError(), [(b"server", b"ours")]))
        answer = HTTPResponse(client)
        answer.begin()
        document = json.loads(answer.read())
    assert (answer.status, answer.reason) == (431, "Request Header Fields Too Large")
    assert (document["code"], document["instance"]) == ("headers_too_large", "/")
    assert document["request_id"] == answer.headers["X-Request-ID"]
    assert answer.headers["Server"] == "ours"
    assert answer.headers["Date"]
    assert answer.will_close
