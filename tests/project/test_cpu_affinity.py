"""The threads of a worker share one CPU, each worker another, and move when it is crowded."""

import os
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from devstack.service_process import ServiceProcess
from devstack.waiting import wait_until
from runtime import cpu_affinity
from tests.support import pictures
from tests.support.uploads import upload

CPUS = os.sched_getaffinity(0)
on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def places(service: ServiceProcess) -> list[set[int]]:
    """Return on which CPUs each thread of the service may run."""
    threads = Path(f"/proc/{service.pid}/task").iterdir()
    return [os.sched_getaffinity(int(thread.name)) for thread in threads]


def free_cpus() -> int:
    """Return how many CPUs no worker has claimed."""
    claims = [claim for cpu in CPUS if (claim := cpu_affinity._claim(cpu))]
    for claim in claims:
        claim.lock.close()
    return len(claims)


@on_sqlite
def test_workers(service_environment: dict[str, str]) -> None:
    """Two workers have a CPU each; the threads that inspect pictures have all of them."""
    if free_cpus() < 2:
        pytest.skip("needs two CPUs that no other worker has claimed")
    environment = service_environment | {"CPU_AFFINITY": "true"}
    with ExitStack() as ends:
        first, second = (ends.enter_context(ServiceProcess(environment)) for _ in range(2))
        for service in (first, second):
            bound = lambda: all(len(place) == 1 for place in places(service))  # noqa: E731, B023
            wait_until(bound, timeout=10, what="all threads to be on one CPU")
        assert places(first)[0].isdisjoint(places(second)[0])
        with httpx.Client(base_url=first.base_url) as client:
            assert upload(client, pictures.png()).status_code == 201
        wait_until(lambda: CPUS in places(first), timeout=10, what="a decoder on all CPUs")
        assert {1, len(CPUS)} == {len(place) for place in places(first)}


@on_sqlite
def test_off(service_environment: dict[str, str]) -> None:
    """Switched off, it leaves all threads on all CPUs."""
    with ServiceProcess(service_environment | {"CPU_AFFINITY": "false"}) as service:
        assert places(service)
        assert all(place == CPUS for place in places(service))


def test_choice() -> None:
    """The CPU of which others take least, unless another worker has it or it is hardly better."""
    first = cpu_affinity._choose(None, {9001: 0.5, 9002: 0.1})
    assert first
    second = cpu_affinity._choose(None, {9001: 0.5, 9002: 0.1})
    assert second
    assert (first.cpu, second.cpu) == (9002, 9001)
    assert cpu_affinity._choose(None, {9001: 0.0, 9002: 0.0}) is None  # all are taken
    assert cpu_affinity._choose(second, {9001: 0.9, 9002: 0.1}) is second  # the better one is taken
    first.lock.close()
    assert cpu_affinity._choose(second, {9001: 0.3, 9002: 0.1}) is second  # hardly better
    moved = cpu_affinity._choose(second, {9001: 0.9, 9002: 0.1})
    assert moved
    assert moved.cpu == 9002
    for claim in (second, moved):
        claim.lock.close()


def test_usage() -> None:
    """What others take of a CPU is all that was used of it, less what this process used."""
    before = cpu_affinity._Usage(10.0, {0: 5.0, 1: 7.0}, 1.0)
    after = cpu_affinity._Usage(12.0, {0: 7.0, 1: 8.0}, 2.5)
    claim = cpu_affinity._choose(None, {9003: 0.0})
    assert claim
    assert cpu_affinity._taken_by_others(before, after, {0, 1}, None) == {0: 1.0, 1: 0.5}
    mine = cpu_affinity._Claim(0, claim.lock)
    assert cpu_affinity._taken_by_others(before, after, {0, 1}, mine) == {0: 0.25, 1: 0.5}
    claim.lock.close()
    assert set(cpu_affinity._usage().busy) >= CPUS
