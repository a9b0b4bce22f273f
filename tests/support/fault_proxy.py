"""A TCP proxy that injects faults, down to a single byte.

Place it in front of PostgreSQL, MariaDB or S3 and choose the fault:

    with FaultProxy(("127.0.0.1", 5432)) as proxy:
        lost = proxy.cut_after(COMMIT)  # the server commits, the answer is lost
        ...  # talk to proxy.address
        assert lost.fired == 1

`refuse`, `hang`, `delay`, `throttle` and `alter` last until `heal`. The other faults wait for a
request that matches a pattern, strike `times` times (None: always) and count the strikes in
`fired`. `heal` disarms all faults. A pattern is bytes or a compiled expression and is searched in
what the client sends, across packet boundaries. Connections through the proxy must not use TLS.
"""

import asyncio
import re
import socket
import threading
from asyncio import StreamReader, StreamWriter
from collections.abc import Callable, Coroutine
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import Any, Literal, Self

from devstack.waiting import wait_until

COMMIT = re.compile(rb"(?<!AUTO)COMMIT")  # MariaDB's clients also send SET AUTOCOMMIT
Pattern = bytes | re.Pattern[bytes]
Direction = Literal["request", "answer"]
BOTH: tuple[Direction, ...] = ("request", "answer")
CHUNK = 64 * 1024
TAIL = 1024  # bytes kept of earlier packets, so that a match may span packets
INTERIM = b"HTTP/1.1 100"  # 100 Continue is not the final answer


@dataclass(eq=False)
class Fault:
    """One armed fault; `fired` counts how often it has struck."""

    action: Literal["cut_before", "cut_answer", "replace_answer", "hold"]
    pattern: Pattern
    times: int | None
    skip: int = 0
    let_through: int = 0
    answer: bytes = b""
    fired: int = 0

    def wait(self, timeout: float = 10) -> None:
        """Block until the fault has struck."""
        wait_until(lambda: self.fired > 0, timeout=timeout, what=f"{self.action} to strike")

    def claims(self, tail: bytes, chunk: bytes) -> bool:
        """Return whether the fault strikes a request that ends in `chunk`; update its counters."""
        wanted = self.pattern
        wanted = re.compile(re.escape(wanted)) if isinstance(wanted, bytes) else wanted
        matches = wanted.finditer(tail + chunk)
        if self.times == 0 or not any(match.end() > len(tail) for match in matches):
            return False
        self.skip -= 1
        if self.skip < 0 and self.times:
            self.times -= 1
        return self.skip < 0


class _Link:
    """A client connection and its connection to the server, in the proxy's event loop."""

    def __init__(self, proxy: "FaultProxy", reader: StreamReader, writer: StreamWriter) -> None:
        self._proxy = proxy
        self._client_in, self._client_out = reader, writer
        self._tail = b""
        self._turn: Direction | None = None
        self._cut: Fault | None = None
        self._budget = 0  # bytes of the answer to forward before the cut
        self._answered = asyncio.Event()
        self.held = False  # the request waits for `release`
        self.task = asyncio.create_task(self._work())

    async def _work(self) -> None:
        """Forward both directions until one side closes or a fault cuts; then close both sides."""
        with ExitStack() as ends, suppress(OSError):
            ends.callback(self._client_out.close)
            await self._proxy.open.wait()
            self._server_in, self._server_out = await asyncio.open_connection(*self._proxy.target)
            ends.callback(self._server_out.close)
            pumps = [asyncio.create_task(pump()) for pump in (self._requests, self._answers)]
            for pump in pumps:
                ends.callback(pump.cancel)
            done, _ = await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            for pump in done:
                pump.result()

    async def _requests(self) -> None:
        while chunk := await self._client_in.read(self._size("request")):
            await self._pass("request", chunk)
            fault = self._proxy.claim(self._tail, chunk)
            self._tail = b"" if fault else (self._tail + chunk)[-TAIL:]
            if fault and fault.action == "cut_answer":
                self._cut, self._budget = fault, fault.let_through
            elif fault:
                await self._apply(fault, chunk)
                return
            for old, new in self._proxy.alterations.items():
                chunk = chunk.replace(old, new)
            self._server_out.write(chunk)
            await self._server_out.drain()

    async def _apply(self, fault: Fault, request: bytes) -> None:
        """Apply the fault to this request, which is the last one of the connection."""
        self.held = fault.action == "hold"
        fault.fired += 1
        if fault.action == "cut_before":
            return
        self._client_out.write(fault.answer)
        while more := await self._client_in.read(CHUNK):  # until the client closes
            request += more
        if self.held:
            await self._proxy.released.wait()
            self._answered.clear()
            self._server_out.write(request)
            await self._answered.wait()

    async def _answers(self) -> None:
        while chunk := await self._server_in.read(self._size("answer")):
            await self._pass("answer", chunk)
            interim, end, answer = b"", b"", chunk
            if chunk.startswith(INTERIM):
                interim, end, answer = chunk.partition(b"\r\n\r\n")
            passes = answer[: self._budget] if self._cut else answer
            self._client_out.write(interim + end + passes)
            if answer and self._cut and len(answer) >= self._budget:
                self._cut.fired += 1
                return
            self._budget -= len(passes)
            if answer:
                self._answered.set()
            await self._client_out.drain()

    def _size(self, direction: Direction) -> int:
        return (self._proxy.rates[direction] + 9) // 10 or CHUNK

    async def _pass(self, direction: Direction, chunk: bytes) -> None:
        """Delay these bytes as `delay`, `throttle` and `hang` demand."""
        if direction != self._turn:  # delay each request or answer once, not each packet
            self._turn = direction
            await asyncio.sleep(self._proxy.delays[direction])
        if rate := self._proxy.rates[direction]:
            await asyncio.sleep(len(chunk) / rate)
        await self._proxy.open.wait()


class FaultProxy:
    """A context manager that runs a proxy in front of `target`, in a thread of its own."""

    def __init__(self, target: tuple[str, int]) -> None:
        self.target = target
        self.accepted = 0  # connections since the start
        self.delays: dict[Direction, float] = dict.fromkeys(BOTH, 0.0)
        self.rates: dict[Direction, int] = dict.fromkeys(BOTH, 0)
        self.alterations: dict[bytes, bytes] = {}
        self.open, self.released = asyncio.Event(), asyncio.Event()
        self._faults: list[Fault] = []
        self._links: set[_Link] = set()
        self._server: asyncio.Server | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fault-proxy")

    def __enter__(self) -> Self:
        self._reserved = _bound(0)  # never listens; reserves the port while `refuse` is active
        self.address: tuple[str, int] = self._reserved.getsockname()
        self._thread.start()
        self.heal()
        return self

    def __exit__(self, *_: object) -> None:
        self.refuse()
        self.close_connections()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._reserved.close()

    def claim(self, tail: bytes, chunk: bytes) -> Fault | None:
        """Return the armed fault that this request triggers, or None."""
        return next((fault for fault in tuple(self._faults) if fault.claims(tail, chunk)), None)

    def refuse(self) -> None:
        """Refuse new connections, like a server that is down; open connections stay."""
        self._do(self._refuse)

    def hang(self) -> None:
        """Accept connections but forward nothing, on open connections either, until `heal`."""
        self._loop.call_soon_threadsafe(self.open.clear)

    def delay(self, seconds: float, *directions: Direction) -> None:
        """Delay each request and each answer, or only the directions named."""
        self.delays.update(dict.fromkeys(directions or BOTH, seconds))

    def throttle(self, bytes_per_second: int, *directions: Direction) -> None:
        """Limit the rate of requests and answers, or only of the directions named."""
        self.rates.update(dict.fromkeys(directions or BOTH, bytes_per_second))

    def alter(self, old: bytes, new: bytes) -> None:
        """Replace bytes in requests, like a faulty network; `new` must be as long as `old`."""
        self.alterations[old] = new

    def heal(self) -> None:
        """End all states and disarm all faults; held requests still wait for `release`."""
        for fault in self._faults:
            fault.times = 0
        self.delay(0)
        self.throttle(0)
        self.alterations.clear()
        self._do(self._heal)

    def cut_before(self, pattern: Pattern, *, times: int | None = 1, skip: int = 0) -> Fault:
        """Cut the connection instead of forwarding the request: the server never receives it."""
        return self._arm(Fault("cut_before", pattern, times, skip))

    def cut_after(self, pattern: Pattern, *, times: int | None = 1, skip: int = 0) -> Fault:
        """Forward the request, wait for the answer and cut: the answer is lost."""
        return self._arm(Fault("cut_answer", pattern, times, skip))

    def cut_response_after(
        self, n_bytes: int, *, when: Pattern = b"", times: int | None = 1, skip: int = 0
    ) -> Fault:
        """Cut after `n_bytes` of the answer, headers included, to a request that matches `when`."""
        return self._arm(Fault("cut_answer", when, times, skip, let_through=n_bytes))

    def answer_with(
        self, answer: bytes, *, when: Pattern = b"", times: int | None = 1, skip: int = 0
    ) -> Fault:
        """Answer a request that matches `when` with these bytes; the server never receives it."""
        return self._arm(Fault("replace_answer", when, times, skip, answer=answer))

    def hold(self, pattern: Pattern, *, times: int | None = 1, skip: int = 0) -> Fault:
        """Hold the request until the client has given up *and* `release` is called."""
        return self._arm(Fault("hold", pattern, times, skip))

    def release(self, timeout: float = 30) -> None:
        """Forward the held requests and wait for their answers: they take effect late."""
        self._do(self._release, timeout)

    @property
    def connections(self) -> int:
        """The number of open connections."""
        return len(self._links)

    @property
    def fired(self) -> int:
        """How often faults have struck in total."""
        return sum(fault.fired for fault in self._faults)

    def close_connections(self) -> None:
        """Cut all open connections and drop the requests that they hold."""
        self._do(self._close_connections)

    def _do(self, work: Callable[[], Coroutine[Any, Any, None]], timeout: float = 30) -> None:
        asyncio.run_coroutine_threadsafe(work(), self._loop).result(timeout)

    def _arm(self, fault: Fault) -> Fault:
        self._faults.append(fault)
        return fault

    async def _heal(self) -> None:
        if self._server is None:
            self._server = await asyncio.start_server(self._accept, sock=_bound(self.address[1]))
        self.open.set()

    def _accept(self, reader: StreamReader, writer: StreamWriter) -> None:
        self.accepted += 1
        link = _Link(self, reader, writer)
        self._links.add(link)
        link.task.add_done_callback(lambda _: self._links.discard(link))

    async def _refuse(self) -> None:
        server, self._server = self._server, None
        if server:
            server.close()

    async def _close_connections(self) -> None:
        tasks = [link.task for link in self._links]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _release(self) -> None:
        late = [link.task for link in self._links if link.held]
        self.released.set()
        await asyncio.gather(*late)
        self.released.clear()


def _bound(port: int) -> socket.socket:
    """Return a socket that is bound to this port (0: any free port) and does not listen yet."""
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.bind(("127.0.0.1", port))
    return made


def s3_error(status: int, code: str) -> bytes:
    """Return an error response of S3, such as 503 SlowDown or 403 AccessDenied."""
    body = f"<Error><Code>{code}</Code><Message>{code}</Message></Error>"
    head = f"HTTP/1.1 {status} {code}\r\nConnection: close\r\nContent-Length: {len(body)}"
    return f"{head}\r\n\r\n{body}".encode()
