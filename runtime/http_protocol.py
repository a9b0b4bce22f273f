"""uvicorn's HTTP/1.1 protocol with bounds on what one connection, and all of them, may cost.

web/middleware/load_shedding.py bounds the requests.
"""

import asyncio
import resource
import socket
from typing import Any, cast

import h11
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.h11_impl import H11Protocol

from errors import OverloadedError, ServiceError
from runtime.strict_h11 import StrictH11
from web.connection_refusals import render_refusal

_CONNECTIONS = 1000
_HEAD_SECONDS, _REFUSAL_SECONDS = 10.0, 2.0
_EVENTS_PER_TURN = 100  # of a body in tiny chunks, which take 2 ms


class HttpProtocol(H11Protocol):
    """One connection. `runtime.server` puts it in the place of uvicorn's own."""

    conn: StrictH11
    cycle: Any  # None before the first request

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.conn = StrictH11()
        self._most, self.limit_concurrency = self.limit_concurrency, None
        resources = self.app_state.get("resources")
        self._idle_seconds = resources.settings.client_idle_seconds if resources else 30.0
        self._head_begun = self._half_closed = self._refused = False
        self._watch: asyncio.TimerHandle | None = None

    @property
    def idle(self) -> bool:
        """Whether no request is under way."""
        return self._refused or self.cycle is None or self.cycle.response_complete

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Accept a connection; beyond the limit, close the one that has been idle longest."""
        super().connection_made(transport)
        self._close_in(_HEAD_SECONDS)
        if self.client:  # not for a Unix socket, see tcp(7)
            limit = (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(1000 * self._idle_seconds))
            transport.get_extra_info("socket").setsockopt(*limit)
        files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]  # requests open files as well
        most = min(self._most or _CONNECTIONS, files * 2 // 5)
        if len(self.connections) > most:
            others = cast("set[HttpProtocol]", self.connections) - {self}
            idle = sorted((o for o in others if o.idle), key=lambda o: o.idle_since)
            for oldest in idle[:1]:
                self.connections.discard(oldest)
                oldest.transport.abort()
            if len(others) - len(idle) >= most:
                self._refuse(OverloadedError("Too many connections; try again."))

    def _close_in(self, seconds: float) -> None:
        self.idle_since = self.loop.time()
        self._unset_keepalive_if_required()
        close = self.timeout_keep_alive_handler
        self.timeout_keep_alive_task = self.loop.call_later(min(seconds, self._idle_seconds), close)

    def data_received(self, data: bytes) -> None:
        """Parse what arrives before the last request has ended."""
        if self.conn.their_state is h11.IDLE and not self._head_begun:
            data = data[:2].lstrip(b"\r\n") + data[2:]  # an empty line (RFC 9112 section 2.2)
        if data and not (self._refused or self.conn.their_state is h11.MUST_CLOSE):
            self.conn.receive_data(data)
            self.handle_events()

    def handle_events(self) -> None:
        """Read on, and parse what has arrived, for one turn."""
        if self.transport.is_closing():
            return
        self.flow.read_paused = True
        if self.idle or len(self.cycle.body) <= HIGH_WATER_LIMIT:
            self.flow.resume_reading()
        self.conn.events_left = _EVENTS_PER_TURN
        super().handle_events()
        if self.conn.fault:
            self._refuse(self.conn.fault)
            return
        if not self.conn.events_left:
            self.loop.call_soon(self.handle_events)
        if self.conn.request_waits or not self.conn.events_left:
            self.transport.pause_reading()
            self.flow.read_paused = False  # so that it does not resume for the application
        begun = self.conn.their_state is h11.IDLE and bool(self.conn.trailing_data[0])
        if begun and not self._head_begun:
            self._close_in(_HEAD_SECONDS)
        self._head_begun = begun

    def eof_received(self) -> bool:  # type: ignore[override]
        """Answer a client that closes its side after its request."""
        self._half_closed = True
        return not self.idle and not self.cycle.more_body and self.transport.can_write_eof()

    def on_response_complete(self) -> None:
        """Go on with the next request, or wait for it."""
        self.idle_since = self.loop.time()
        super().on_response_complete()
        if self.idle and self._half_closed:
            self.transport.close()
        elif self.idle and self.conn.their_state is h11.SEND_BODY:
            self._close_in(self._idle_seconds)

    def _should_upgrade(self) -> bool:
        return False  # an offer that may be ignored (RFC 9110 section 7.8)

    def _refuse(self, error: ServiceError) -> None:
        """Answer with a problem document, and close once the client has read it."""
        if self.cycle and (self.cycle.more_body or not self.cycle.response_complete):
            self.cycle.disconnected = True
            self.cycle.message_event.set()
            if self.cycle.response_started:
                self.transport.abort()
                return
        self._refused, self.conn = True, StrictH11()
        self.transport.write(render_refusal(error, self.config.encoded_headers))
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._close_in(_REFUSAL_SECONDS)  # not at once: RFC 9112 section 9.6

    def pause_writing(self) -> None:
        """Watch for a client that stops reading, if there is no TCP_USER_TIMEOUT to do so."""
        super().pause_writing()
        if not self.client:
            self._look(-1)

    def resume_writing(self) -> None:
        """Note that the client has taken what it was sent."""
        super().resume_writing()
        if self._watch:
            self._watch.cancel()

    def _look(self, untaken: int) -> None:
        if (left := self.transport.get_write_buffer_size()) == untaken:
            self.transport.abort()
        else:
            self._watch = self.loop.call_later(self._idle_seconds, self._look, left)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection. uvicorn drops what is sent from now on, without an error."""
        self._unset_keepalive_if_required()
        if not self.idle:
            self.cycle.scope["state"]["client_left"] = True
        self.resume_writing()
        super().connection_lost(exc)
