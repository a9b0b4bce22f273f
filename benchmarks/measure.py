"""One measurement, and all measurements of one scenario."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

import urllib3

from benchmarks import python_load, wrk
from benchmarks.load import Load, Summary
from benchmarks.photos import MB
from benchmarks.stack import Setting, Stack, bare, context_switches, cpu_seconds, settle
from benchmarks.workloads import ROWS, Deployment, Row, Scenario
from devstack.service_process import ServiceProcess

_AT_ONCE = 16  # requests that one process handles by default; others wait
_WARM_UP_SECONDS = 0.2
_SEED_SECONDS = 3
_SEED_CLIENTS = 16
_LARGE = 5 * MB  # from this size on, the window is longer
_LARGE_SECONDS = 3


@dataclass(frozen=True)
class Case:
    """The identity of one row of the results."""

    row: str
    clients: int
    setting: Setting


@dataclass(frozen=True)
class Measurement:
    """The results of one measurement.

    `cpu_ms` is the CPU time of the service and `switches` the context switches of its threads
    (proc(5), "ctxt_switches"), both per request; 0 if the service takes no part.
    """

    requests_per_second: float
    mb_per_second: float
    p50_ms: float
    p99_ms: float
    cpu_ms: float
    switches: float
    errors: int


@dataclass(frozen=True)
class Plan:
    """The rows to measure, the duration, and the load generator."""

    wanted: Callable[[str], bool]
    quick: bool
    with_wrk: bool

    @property
    def passes(self) -> int:
        """The number of passes."""
        return 1 if self.quick else 3

    @property
    def seconds(self) -> int:
        """The duration of a load in seconds."""
        return 1 if self.quick else 2

    def numbers_of_clients(self, numbers: Iterable[int]) -> list[int]:
        """Return the numbers of clients to measure; a quick run uses 16 only."""
        return [number for number in numbers if number == 16 or not self.quick]

    def send(self, load: Load, clients: int, seconds: int) -> Summary:
        """Send a load."""
        run = wrk.run if self.with_wrk else python_load.run
        return run(load.with_new_serials(), clients, seconds)


def measure_scenario(
    plan: Plan, stack: Stack, scenario: Scenario
) -> Iterator[tuple[Case, Measurement]]:
    """Set up a scenario and measure its wanted rows, after `bare`."""
    rows = {
        name: plan.numbers_of_clients(numbers)
        for name, numbers in scenario.rows.items()
        if plan.wanted(name)
    }
    if not rows:
        return
    setting = scenario.setting
    yield from _measure_bare(plan, setting, set(chain.from_iterable(rows.values())))
    url = stack.database(setting.engine, setting.images)
    with stack.bucket() as bucket, stack.service(url, bucket, setting) as process:
        deployment = Deployment(stack, setting, process.base_url, bucket, url)
        for name, numbers in rows.items():
            row, load = ROWS[name], ROWS[name].load(deployment)
            for clients in numbers:
                if row.seed:
                    seed = row.seed(deployment)
                    _probe(seed)
                    plan.send(seed, _SEED_CLIENTS, _SEED_SECONDS)
                yield Case(name, clients, setting), _measure(plan, row, load, process, clients)


def _measure_bare(
    plan: Plan, setting: Setting, numbers_of_clients: set[int]
) -> Iterator[tuple[Case, Measurement]]:
    """Measure the application that does nothing; 16 clients saturate it."""
    with bare(setting.workers) as process:
        load = Load(process.base_url, ((b"/health/live",),))
        row = Row(lambda _: load)
        for clients in sorted(numbers_of_clients & {1, 16}):
            yield Case("bare", clients, setting), _measure(plan, row, load, process, clients)


def _measure(
    plan: Plan, row: Row, load: Load, process: ServiceProcess, clients: int
) -> Measurement:
    """Warm the service up, wait until it is idle, and measure."""
    status = _probe(load.with_new_serials())
    if status != row.status:
        raise RuntimeError(f"{load.method} {load.request(0)[0]} answered {status}")
    seconds = _LARGE_SECONDS if row.size >= _LARGE else plan.seconds
    if row.seed:
        seconds = 1  # the seeds do not suffice for more
    else:
        python_load.run(load.with_new_serials(), clients, _WARM_UP_SECONDS)
    settle(process)
    cpu, switches = cpu_seconds(process), context_switches(process)
    summary = plan.send(load, clients, seconds)
    cpu, switches = cpu_seconds(process) - cpu, context_switches(process) - switches
    # Requests in progress at the end are half done on average.
    served = summary.requests + min(clients, _AT_ONCE) / 2
    share = 1 / served if load.base_url == process.base_url else 0
    rate = summary.requests / summary.seconds
    return Measurement(
        requests_per_second=rate,
        mb_per_second=rate * row.size / 1e6,
        p50_ms=summary.p50_ms,
        p99_ms=summary.p99_ms,
        cpu_ms=1000 * cpu * share,
        switches=switches.total() * share,
        errors=summary.errors,
    )


def _probe(load: Load) -> int:
    """Send one request of a load and return the status of the response."""
    path, body = load.request(0)
    url, headers = load.base_url + path, load.headers
    return urllib3.request(
        load.method, url, body=body, headers=headers, redirect=False, retries=False, timeout=30
    ).status
