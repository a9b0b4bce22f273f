"""uvicorn's HTTP/1.1 protocol with limits for each connection and for their number."""

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

_MAX_CONNECTIONS = 1000
_HEAD_SECONDS, _REFUSAL_SECONDS = 10.0, 2.0
_EVENTS_PER_TURN = 100  # take 2 ms for a body in tiny chunks


class HttpProtocol(H11Protocol):
    """A connection. `runtime.server` installs this class in place of uvicorn's."""

    conn: StrictH11
    cycle: Any  # None before the first request

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.conn = StrictH11()
        self._limit, self.limit_concurrency = self.limit_concurrency, None
        resources = self.app_state.get("resources")
        self._idle_seconds = resources.settings.client_idle_seconds if resources else 30.0
        self._head_begun = self._half_closed = self._refused = False
        self._watch: asyncio.TimerHandle | None = None

    @property
    def idle(self) -> bool:
        """Whether no request is in progress."""
        return self._refused or self.cycle is None or self.cycle.response_complete

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Accept a connection. Beyond the limit, close the longest idle one, or refuse this one."""
        super().connection_made(transport)
        self._close_in(_HEAD_SECONDS)
        if self.client:  # not a Unix socket, see tcp(7)
            option = (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(1000 * self._idle_seconds))
            transport.get_extra_info("socket").setsockopt(*option)
        files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]  # requests open files as well
        limit = min(self._limit or _MAX_CONNECTIONS, files * 2 // 5)
        if len(self.connections) > limit:
            others = cast("set[HttpProtocol]", self.connections) - {self}
            idle = sorted((o for o in others if o.idle), key=lambda o: o.idle_since)
            for oldest in idle[:1]:
                self.connections.discard(oldest)
                oldest.transport.abort()
            if len(others) - len(idle) >= limit:
                self._refuse(OverloadedError("Too many connections; try again."))

    def _close_in(self, seconds: float) -> None:
        self.idle_since = self.loop.time()
        self._unset_keepalive_if_required()
        close = self.timeout_keep_alive_handler
        self.timeout_keep_alive_task = self.loop.call_later(min(seconds, self._idle_seconds), close)

    def data_received(self, data: bytes) -> None:
        """Parse data of the client."""
        if self.conn.their_state is h11.IDLE and not self._head_begun:
            data = data[:2].lstrip(b"\r\n") + data[2:]  # an empty line (RFC 9112 section 2.2)
        if data and not (self._refused or self.conn.their_state is h11.MUST_CLOSE):
            self.conn.receive_data(data)
            self.handle_events()

    def handle_events(self) -> None:
        """Parse received data for one turn, and decide whether to read more."""
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
            self.flow.read_paused = False  # keeps the application from resuming
        begun = self.conn.their_state is h11.IDLE and bool(self.conn.trailing_data[0])
        if begun and not self._head_begun:
            self._close_in(_HEAD_SECONDS)
        self._head_begun = begun

    def eof_received(self) -> bool:  # type: ignore[override]
        """Keep the connection for the response if the client closes its side after a request."""
        self._half_closed = True
        return not self.idle and not self.cycle.more_body and self.transport.can_write_eof()

    def on_response_complete(self) -> None:
        """Continue with the next request, or wait for it."""
        self.idle_since = self.loop.time()
        super().on_response_complete()
        if self.idle and self._half_closed:
            self.transport.close()
        elif self.idle and self.conn.their_state is h11.SEND_BODY:
            self._close_in(self._idle_seconds)

    def _should_upgrade(self) -> bool:
        return False  # an offer that may be ignored (RFC 9110 section 7.8)

    def _refuse(self, error: ServiceError) -> None:
        """Send a problem document, and close after giving the client time to read it."""
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
        """Detect a client that stops reading, if TCP_USER_TIMEOUT does not."""
        super().pause_writing()
        if not self.client:
            self._check_progress(-1)

    def resume_writing(self) -> None:
        """Stop waiting for the client to read."""
        super().resume_writing()
        if self._watch:
            self._watch.cancel()

    def _check_progress(self, last_size: int) -> None:
        if (size := self.transport.get_write_buffer_size()) == last_size:
            self.transport.abort()
        else:
            self._watch = self.loop.call_later(self._idle_seconds, self._check_progress, size)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection. uvicorn silently drops anything sent from now on."""
        self._unset_keepalive_if_required()
        if not self.idle:
            self.cycle.scope["state"]["client_left"] = True
        self.resume_writing()
        super().connection_lost(exc)
