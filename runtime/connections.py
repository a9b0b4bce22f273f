"""How many connections the process takes, and when it stops to read from one, or to write to it."""

import asyncio
import resource
import socket

from uvicorn.protocols.http.flow_control import FlowControl

_CONNECTIONS = 1000


class Flow(FlowControl):
    """Reads on only when nothing is held back; uvicorn's does when an application wants more."""

    holds = False

    def resume_reading(self) -> None:
        """Read on."""
        if not self.holds:
            super().resume_reading()


def most_connections() -> int:
    """Return how many connections this process takes; files and sockets of its own need as many."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _CONNECTIONS if files == resource.RLIM_INFINITY else min(_CONNECTIONS, files // 2)


def give_up_on_silent_peer(transport: asyncio.BaseTransport, seconds: float) -> None:
    """Let the kernel drop the connection when bytes stay unacknowledged, or untaken, for so long.

    Otherwise a client that stops reading holds a socket for ever, closed or not.
    """
    connection = transport.get_extra_info("socket")
    if connection.family != socket.AF_UNIX and hasattr(socket, "TCP_USER_TIMEOUT"):
        milliseconds = int(seconds * 1000)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)
