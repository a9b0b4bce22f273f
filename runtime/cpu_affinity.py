"""CPU affinity: the threads of a process take turns on one CPU.

The GIL lets one Python thread run at a time. Handing it to a thread on another CPU means waking
that CPU, and a request hands it over about twenty times. On one CPU, and with a scheduler that
does not interrupt one thread for another, that becomes three times: a metadata request costs
0.45 ms of CPU instead of 0.96 ms, and one worker answers 2,200 of them a second instead of 1,050
(two virtual CPUs, 16 clients). Threads that mostly run without the GIL stay on all CPUs.
"""

import os
import random
import socket
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from weakref import WeakSet

_PERIOD_SECONDS = 1.0
# Move when others take so much more of our CPU's time than of another's.
_CROWDED = 0.25
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")

_unbound: "WeakSet[threading.Thread]" = WeakSet()


def share_one_cpu(stop: threading.Event) -> None:
    """Keep the threads of this process on the CPU that others use least, until `stop` is set.

    Processes that share a network namespace (the workers of one service) claim different CPUs;
    one that finds none free stays on all. Does nothing where there is one CPU, or no Linux.
    """
    if hasattr(os, "sched_setaffinity") and len(cpus := os.sched_getaffinity(0)) > 1:
        arguments = stop, cpus
        threading.Thread(target=_keep, args=arguments, name="affinity", daemon=True).start()


def use_all_cpus() -> None:
    """Let the calling thread run on every CPU again: it seldom needs the GIL."""
    _unbound.add(threading.current_thread())


@dataclass(frozen=True, slots=True)
class _Claim:
    """A CPU that no other worker takes: who binds the socket has it, until the process ends."""

    cpu: int
    lock: socket.socket


@dataclass(frozen=True, slots=True)
class _Usage:
    """CPU time in seconds up to a moment: of each CPU by all processes, and of this process."""

    moment: float
    busy: dict[int, float]
    own: float


def _keep(stop: threading.Event, cpus: set[int]) -> None:
    claim = _choose(None, dict.fromkeys(cpus, 0.0))
    while True:
        _bind({claim.cpu} if claim else cpus, cpus)
        before = _usage()
        # Not in step with other processes, which would flee from each other.
        if stop.wait(random.uniform(0.5, 1.5) * _PERIOD_SECONDS):  # noqa: S311
            break
        chosen = _choose(claim, _taken_by_others(before, _usage(), cpus, claim))
        if claim and chosen is not claim:
            claim.lock.close()
        claim = chosen
    _bind(cpus, cpus)
    if claim:
        claim.lock.close()


def _choose(held: _Claim | None, taken: dict[int, float]) -> _Claim | None:
    """Claim the CPU of which others take the least, unless the one held is about as good."""
    for cpu in sorted(taken, key=lambda cpu: (taken[cpu], random.random())):  # noqa: S311
        if held and taken[held.cpu] - taken[cpu] < _CROWDED:
            return held
        if claim := _claim(cpu):
            return claim
    return held


def _claim(cpu: int) -> _Claim | None:
    lock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        lock.bind(f"\0image-api-cpu-{cpu}")  # unix(7), "abstract": no file is left behind
    except OSError:
        lock.close()
        return None
    return _Claim(cpu, lock)


def _bind(cpus: set[int], all_cpus: set[int]) -> None:
    policy = os.SCHED_OTHER if cpus == all_cpus else os.SCHED_BATCH
    for thread in threading.enumerate():
        with suppress(OSError):  # it ended meanwhile
            wanted = all_cpus if thread in _unbound else cpus
            os.sched_setaffinity(thread.native_id or 0, wanted)
            # sched(7): with SCHED_BATCH who is woken does not interrupt the one who wakes it.
            os.sched_setscheduler(thread.native_id or 0, policy, os.sched_param(0))


def _usage() -> _Usage:
    busy = {}
    with suppress(OSError):  # not readable in some sandboxes: then no CPU seems crowded
        for line in Path("/proc/stat").read_text().splitlines():
            name, *ticks = line.split()
            if name.startswith("cpu") and name != "cpu":
                # proc_stat(5): user nice system idle iowait irq softirq steal
                spent = [int(field) for field in ticks[:8]]
                busy[int(name[3:])] = (sum(spent) - spent[3] - spent[4]) / _TICKS_PER_SECOND
    return _Usage(time.monotonic(), busy, time.process_time())


def _taken_by_others(
    before: _Usage, after: _Usage, cpus: set[int], claim: _Claim | None
) -> dict[int, float]:
    """What part of each CPU's time other processes took."""
    elapsed = after.moment - before.moment
    taken = {cpu: after.busy.get(cpu, 0) - before.busy.get(cpu, 0) for cpu in cpus}
    if claim:
        taken[claim.cpu] -= after.own - before.own
    return {cpu: seconds / elapsed for cpu, seconds in taken.items()}
