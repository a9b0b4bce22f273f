"""uvicorn's HTTP/1.1 with bounds on what one connection, and all of them, may cost.

uvicorn parses whatever arrives: heads of any size for as long as they take, and any number of
pipelined requests, each with its objects. This protocol parses a head when all of it has arrived,
within a size and a time, and one request at a time; what a client sends ahead waits in the kernel.
It closes connections that send nothing, and makes room for new ones at the expense of those that
idle. What it refuses is answered as a problem document, like everything else.

`runtime.server` puts it in place of uvicorn's own, or warns that it cannot. Naming it on the
command line comes to the same: `--http runtime.http_protocol:HttpProtocol`.
"""

import asyncio
import functools
import sys
import time
from email.utils import formatdate
from typing import Any

from httptools import HttpParserError, HttpParserUpgrade
from starlette.types import Message, Receive, Scope, Send
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from errors import InvalidRequestError, OverloadedError, ServiceError
from runtime.connections import Flow, most_connections
from runtime.refusal import render_refusal
from runtime.request_head import body_length, measure_head

_HEAD_SECONDS = 10.0
# Of a body in chunks, which may be tiny, this much is parsed before others have their turn.
_TURN_BYTES = 8 * 1024
# A read takes up to 8 MB off the network at once, which would be all that the process does.
_UNWANTED_SECONDS = 0.01
# A connection whose request was refused stays until the client has had time to read why.
_REFUSAL_SECONDS = 2.0

_waiting: dict["HttpProtocol", None] = {}  # connections without a request, longest first


class HttpProtocol(HttpToolsProtocol):
    """One connection. Replaces how uvicorn feeds its parser and how it ends connections.

    Of uvicorn's class it uses the parser's callbacks, the request's `cycle`, `flow`, and the timer
    that closes idle connections.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.ws_protocol_class = None
        self._application = self.app
        self.app = self._run
        self._unread = bytearray()
        self._searched = 0  # bytes of `_unread` in which no head ends
        self._head_begun = False  # and so its time runs, which empty lines before it do not prolong
        self._body_left = 0
        self._in_chunks = False
        self._parses_head = False
        self._answering = False
        self._deaf = False  # nothing more that arrives counts
        resources = self.app_state.get("resources")
        self._patience = resources.settings.client_idle_seconds if resources else 30.0
        self._head_seconds = min(_HEAD_SECONDS, self._patience)

    # The connection

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection, at the expense of one that idles where there are too many."""
        super().connection_made(transport)
        self.flow: Flow = Flow(transport, self._patience)
        _waiting[self] = None
        self._close_in(self._head_seconds)
        if len(self.connections) > most_connections():
            oldest = next(iter(_waiting))
            if oldest is self:
                self._refuse(OverloadedError("Too many connections; try again."))
                return
            del _waiting[oldest]
            self.connections.discard(oldest)
            oldest.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        _waiting.pop(self, None)
        self._unset_keepalive_if_required()
        self._unread.clear()
        super().connection_lost(exc)

    def _close_in(self, seconds: float) -> None:
        self._unset_keepalive_if_required()
        self.timeout_keep_alive_task = self.loop.call_later(
            seconds, self.timeout_keep_alive_handler
        )

    # What arrives

    def data_received(self, data: bytes) -> None:
        """Take bytes off the network; those that nobody wants slowly."""
        if not self._answering and (self._deaf or self._body_left):
            self._hold_back()
            self.loop.call_later(_UNWANTED_SECONDS, self._read_on)
        if self._deaf:
            return
        if not self._unread and len(data) <= self._body_turn:
            self._body_left -= len(data)
            self._parse(data)  # not copied, which large uploads notice
        else:
            self._unread += data
            self._parse_unread()

    def _parse_unread(self) -> None:
        """Parse what belongs to the current request, or else the next head."""
        while self._unread and not self._deaf and not self.transport.is_closing():
            if self._body_left:
                piece = self._take(self._body_turn)
                self._body_left -= len(piece)
                self._parse(piece)
                if self._in_chunks and self._unread:
                    self._hold_back()
                    self.loop.call_soon(self._parse_unread)
                    return
            elif self._answering:
                self._hold_back()
                return
            elif piece := self._take_head():
                self._parse(piece)
            else:
                break
        self._read_on()

    @property
    def _body_turn(self) -> int:
        """How much of a body may be parsed at once."""
        return _TURN_BYTES if self._in_chunks else self._body_left

    def _take(self, size: int) -> bytes:
        piece = bytes(self._unread[:size])
        del self._unread[:size]
        return piece

    def _hold_back(self) -> None:
        """Take nothing more off the network for now."""
        self.flow.holds = True
        self.flow.pause_reading()

    def _read_on(self) -> None:
        if self.flow.holds and not self.transport.is_closing():
            self.flow.holds = False
            if not self._answering or len(self.cycle.body) <= HIGH_WATER_LIMIT:
                self.flow.resume_reading()

    def _ignore_the_rest(self) -> None:
        """Close the connection after this answer: a client sends what was not answered again."""
        self._deaf = True
        self._unread.clear()
        self.cycle.keep_alive = False
        if self.cycle.response_complete:
            self.transport.close()

    def _take_head(self) -> bytes:
        """Return the next head, or nothing where it has not arrived."""
        if self._unread.startswith(b"\r\n"):
            del self._unread[:2]  # RFC 9112 section 2.2
        try:
            size = measure_head(self._unread, self._searched)
        except ServiceError as fault:
            self._refuse(fault)
            return b""
        if size:
            self._searched = 0
            self._head_begun = False
            self._parses_head = True
            return self._take(size)
        if self._unread and not self._head_begun:
            self._head_begun = True
            self._close_in(self._head_seconds)
        self._searched = len(self._unread)
        return b""

    def _parse(self, piece: bytes) -> None:
        try:
            self.parser.feed_data(piece)
        except HttpParserUpgrade:
            pass  # an offer that may be ignored (RFC 9110 section 7.8)
        except HttpParserError as exc:
            if self._deaf:
                return
            fault = exc.__context__  # what a callback raised
            if not isinstance(fault, ServiceError):
                fault = InvalidRequestError("This is not HTTP/1.1.")
            self._refuse(fault)

    # What the parser finds

    def on_message_begin(self) -> None:
        """Begin a request, unless it arrived together with the end of a chunked body.

        Where such a body ends only the parser knows, too late to bound what follows.
        """
        if not self._parses_head:
            self._ignore_the_rest()
            raise InvalidRequestError
        self._parses_head = False
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Begin to answer, unless the head contradicts itself."""
        version = self.parser.get_http_version()
        length = body_length(version, self.headers)
        self._in_chunks = length is None
        self._body_left = sys.maxsize if length is None else length
        self._unset_keepalive_if_required()
        _waiting.pop(self, None)
        super().on_headers_complete()
        self._answering = True
        if self.parser.should_upgrade():
            self.cycle.keep_alive = False

    def on_message_complete(self) -> None:
        """End the request's body."""
        self._body_left = 0
        self._in_chunks = False
        super().on_message_complete()

    # What is answered

    async def _run(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request.

        Date is rendered with the answer: uvicorn's is that of when the request arrived. An answer
        that was given up is cut off at once: to close properly is to wait for a client that may
        never take what is left.
        """
        cycle = self.cycle

        async def send_dated(message: Message) -> None:
            if message["type"] == "http.response.start":
                cycle.default_headers = self._default_headers()
            await send(message)

        try:
            await self._application(scope, receive, send_dated)
        finally:
            if cycle.response_started and not cycle.response_complete:
                self.transport.abort()

    def _default_headers(self) -> list[tuple[bytes, bytes]]:
        if not self.config.date_header:
            return self.server_state.default_headers
        return [(b"date", _http_date(int(time.time()))), *self.config.encoded_headers]

    def on_response_complete(self) -> None:
        """Go on with the next request, or wait for it."""
        self._answering = False
        super().on_response_complete()
        if self.transport.is_closing():
            return
        if self._body_left:
            # The rest of a body that nobody wants, so that the client comes to read the answer.
            self._close_in(self._patience)
        else:
            _waiting[self] = None
            self._parse_unread()

    def _refuse(self, error: ServiceError) -> None:
        """Answer what cannot be a request, and read no more."""
        self._deaf = True
        _waiting.pop(self, None)
        self._unread.clear()
        if self._answering:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
            if self.cycle.response_started:
                self.transport.abort()
                return
        self.transport.write(render_refusal(error, self._default_headers()))
        if self.transport.can_write_eof():
            self.transport.write_eof()
        # To close with bytes unread would take the answer from the client (RFC 9112 section 9.6).
        self._close_in(_REFUSAL_SECONDS)


@functools.lru_cache(maxsize=1)
def _http_date(seconds: int) -> bytes:
    return formatdate(seconds, usegmt=True).encode()
