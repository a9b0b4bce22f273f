"""How many connections the process takes, and when it stops to read from one, or to write to it."""

import asyncio
import resource
import socket

from uvicorn.protocols.http.flow_control import FlowControl

_CONNECTIONS = 1000


class Flow(FlowControl):
    """uvicorn's flow control for clients that send too much, or take nothing.

    It reads on only when nothing is held back; uvicorn's does when an application wants more. And
    it gives up a client that takes no byte for `patience` seconds, however slow the others are.
    """

    holds = False

    def __init__(self, transport: asyncio.Transport, patience: float) -> None:
        super().__init__(transport)
        self._patience = patience
        self._kernel_watches = _let_kernel_give_up(transport, patience)
        self._watch: asyncio.TimerHandle | None = None

    def resume_reading(self) -> None:
        """Read on."""
        if not self.holds:
            super().resume_reading()

    def pause_writing(self) -> None:
        """Note that the client is slower than we are."""
        super().pause_writing()
        if not self._kernel_watches:
            self._look_again()

    def resume_writing(self) -> None:
        """Note that the client has taken what was written."""
        super().resume_writing()
        if self._watch:
            self._watch.cancel()

    def _look_again(self) -> None:
        untaken = self._transport.get_write_buffer_size()
        loop = asyncio.get_running_loop()
        self._watch = loop.call_later(self._patience, self._look, untaken)

    def _look(self, untaken: int) -> None:
        if self._transport.get_write_buffer_size() == untaken:
            self._transport.abort()
        else:
            self._look_again()


def most_connections() -> int:
    """Return how many connections this process takes; files and sockets of its own need as many."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _CONNECTIONS if files == resource.RLIM_INFINITY else min(_CONNECTIONS, files // 2)


def _let_kernel_give_up(transport: asyncio.BaseTransport, seconds: float) -> bool:
    """Let the kernel drop the connection when bytes stay unacknowledged, or untaken, for so long.

    Otherwise a client that stops reading holds a socket for ever, closed or not (tcp(7),
    TCP_USER_TIMEOUT). Returns whether it can: only Linux does, and not for Unix sockets.
    """
    connection = transport.get_extra_info("socket")
    if connection.family == socket.AF_UNIX or not hasattr(socket, "TCP_USER_TIMEOUT"):
        return False
    milliseconds = int(seconds * 1000)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)
    return True
