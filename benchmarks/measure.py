"""One measurement, and all measurements of one scenario."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain

import urllib3

from benchmarks import python_load, wrk
from benchmarks.deployment import Deployment, Row, Scenario
from benchmarks.load import Load, Summary
from benchmarks.peers import bare
from benchmarks.photos import MB
from benchmarks.scenarios import comparison, scenarios
from benchmarks.stack import Setting, Stack, context_switches, cpu_seconds, settle
from benchmarks.variants import COLD, WARM, WARM_UPS
from benchmarks.workloads import ROWS
from devstack.server_process import ServerProcess

_AT_ONCE = 16  # requests that one process handles by default; others wait
_WARM_UP_SECONDS = 0.2
_SEED_SECONDS = 6
_SEED_CLIENTS = 16
_LARGE_SECONDS = 3  # for images from 5 MB on
_UPLOAD_SECONDS = 0.3  # for each MB of an upload, so that 16 clients send several


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
    (proc(5), "ctxt_switches"), both per request; 0 if the service takes no part. `peak_mb` is the
    sum of its processes' peaks of resident memory during the load. `output_bytes` and `ssim` are
    size and quality of a variant.
    """

    requests_per_second: float
    mb_per_second: float
    p50_ms: float
    p99_ms: float
    cpu_ms: float
    switches: float
    errors: int
    peak_mb: float = 0
    output_bytes: int = 0
    ssim: float = 0


@dataclass(frozen=True)
class Plan:
    """The rows to measure, the duration, and the load generator."""

    wanted: Callable[[str], bool]
    quick: bool
    with_wrk: bool
    peers: bool

    @property
    def passes(self) -> int:
        """The number of passes."""
        return 1 if self.quick else 3

    @property
    def seconds(self) -> int:
        """The duration of a load in seconds."""
        return 1 if self.quick else 2

    def scenarios(self, engines: list[str]) -> list[Scenario]:
        """Return the scenarios to measure."""
        return comparison(engines) if self.peers else scenarios(engines, quick=self.quick)

    def numbers_of_clients(self, numbers: Iterable[int]) -> list[int]:
        """Return the numbers of clients to measure; a quick run uses 16 only, if they are among."""
        busy = [number for number in numbers if number == 16]
        return busy if self.quick and busy else list(numbers)

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
    if not rows.keys() & (COLD.keys() | WARM.keys()):  # it is no unit of variants
        yield from _measure_bare(plan, setting, set(chain.from_iterable(rows.values())))
    url = stack.database(setting.engine, setting.images)
    with stack.bucket() as bucket, stack.service(url, bucket, setting) as process:
        deployment = Deployment(stack, setting, process, bucket)
        for name, numbers in rows.items():
            row, load = ROWS[name], ROWS[name].load(deployment)
            for clients in numbers:
                if row.seed:
                    seed = row.seed(deployment)
                    _request(seed)
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


def _measure(plan: Plan, row: Row, load: Load, process: ServerProcess, clients: int) -> Measurement:
    """Warm the service up, wait until it is idle, and measure."""
    probed = _request(load if row.times else load.with_new_serials())
    if probed.status != row.status:
        raise RuntimeError(f"{load.method} {load.request(0)[0]} answered {probed.status}")
    _warm_up(row, load, clients)
    settle(process)
    process.reset_peak()
    cpu, switches = cpu_seconds(process), context_switches(process)
    summary = _send(plan, row, load, process, clients)
    cpu, switches = cpu_seconds(process) - cpu, context_switches(process) - switches
    # Requests in progress at the end are half done on average.
    served = summary.requests + (0 if row.times else min(clients, _AT_ONCE) / 2)
    share = 1 / served if load.base_url == process.base_url else 0
    rate = summary.requests / summary.seconds
    measured = Measurement(
        requests_per_second=rate,
        mb_per_second=rate * row.size / 1e6,
        p50_ms=summary.p50_ms,
        p99_ms=summary.p99_ms,
        cpu_ms=1000 * cpu * share,
        switches=switches.total() * share,
        errors=summary.errors,
        peak_mb=process.rss(peak=True) / 1e6 if share else 0,
    )
    if row.judge:
        size, quality = len(probed.data), row.judge(probed.data)
        return replace(measured, output_bytes=size, ssim=quality)
    return measured


def _warm_up(row: Row, load: Load, clients: int) -> None:
    if row.times:
        python_load.run_once(load, range(1, WARM_UPS))
    elif not row.seed:
        python_load.run(load.with_new_serials(), clients, _WARM_UP_SECONDS)


def _send(plan: Plan, row: Row, load: Load, process: ServerProcess, clients: int) -> Summary:
    if row.times:
        summary = python_load.run_once(load, range(WARM_UPS, WARM_UPS + row.times))
        settle(process)  # it may store a variant after sending it
        return summary
    if row.seed:
        return plan.send(load, clients, 1)  # the seeds do not suffice for more
    seconds = _LARGE_SECONDS if row.size >= 5 * MB else plan.seconds
    if load.method == "POST":
        seconds = max(seconds, int(_UPLOAD_SECONDS * row.size / MB))
    return plan.send(load, clients, seconds)


def _request(load: Load) -> urllib3.BaseHTTPResponse:
    """Send one request of a load."""
    path, body = load.request(0)
    url, headers = load.base_url + path, load.headers
    return urllib3.request(
        load.method, url, body=body, headers=headers, redirect=False, retries=False, timeout=30
    )
