"""With CPU_AFFINITY the threads of a worker share one CPU, and each worker has another."""

import os
from contextlib import ExitStack, suppress
from pathlib import Path

import httpx
import pytest

from devstack.service_process import ServiceProcess
from runtime import cpu_affinity
from tests.support import pictures
from tests.support.inspections import decoders
from tests.support.uploads import on_sqlite, upload

CPUS = os.sched_getaffinity(0)


def places(service: ServiceProcess) -> list[set[int]]:
    """Return on which CPUs each thread of the service may run."""
    found = []
    for thread in Path(f"/proc/{service.pid}/task").iterdir():
        with suppress(OSError):  # it ended while we looked
            found.append(os.sched_getaffinity(int(thread.name)))
    return found


def free_cpus() -> int:
    """Return how many CPUs no worker has claimed."""
    claims = [claim for cpu in CPUS if (claim := cpu_affinity._claim(cpu))]
    for claim in claims:
        claim.close()
    return len(claims)


@on_sqlite
def test_workers(service_environment: dict[str, str]) -> None:
    """Two workers have a CPU each, their decoders all; one that finds none free runs on all."""
    if free_cpus() != 2:
        pytest.skip("needs exactly two CPUs that no other worker has claimed")
    environment = service_environment | {"CPU_AFFINITY": "true"}
    with ExitStack() as ends:
        first, second, third = (ends.enter_context(ServiceProcess(environment)) for _ in range(3))
        for service in (first, second, third):
            with httpx.Client(base_url=service.base_url) as client:
                assert upload(client, pictures.png()).status_code in {200, 201}
        assert {len(place) for place in places(first) + places(second)} == {1}
        assert places(first)[0].isdisjoint(places(second)[0])
        assert all(place == CPUS for place in places(third))
        (decoder,) = decoders(first.pid)
        assert os.sched_getaffinity(decoder) == CPUS
        assert "CPU_AFFINITY has no effect" in third.log()
        assert "CPU_AFFINITY" not in first.log()


@on_sqlite
def test_off(service: ServiceProcess) -> None:
    """By default all threads run on all CPUs."""
    assert places(service)
    assert all(place == CPUS for place in places(service))


def test_release() -> None:
    """A claim ends with its block, and the process is back on all CPUs."""
    before = free_cpus()
    if before < 2:
        pytest.skip("needs two CPUs that no other worker has claimed")
    with cpu_affinity.one_cpu():
        assert len(os.sched_getaffinity(0)) == 1
        assert free_cpus() == before - 1
    assert os.sched_getaffinity(0) == CPUS
    assert free_cpus() == before
