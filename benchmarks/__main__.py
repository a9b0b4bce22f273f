"""`python -m benchmarks`: measure, print one table and write the results into docs."""

import argparse
import signal
import sys
import time
from contextlib import ExitStack
from itertools import chain
from pathlib import Path

from benchmarks import COMPARISON, RESULTS, peers, wrk
from benchmarks.conditions import conditions
from benchmarks.measure import Plan, measure_scenario
from benchmarks.memory import Memory, measure_memory
from benchmarks.results import Pass, Results
from benchmarks.stack import Stack
from benchmarks.table import HEADINGS, cells, markdown, number
from benchmarks.verdicts import verdicts


def main() -> int:
    """Measure, print the results and write them; return the exit status."""
    options = _parse_arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # removes databases and buckets
    if options.peers and not peers.INSTALLED.exists():
        print("Run `make bench-peers` once, which installs the peers.", file=sys.stderr)
        return 1
    version = wrk.install()
    plan = Plan(
        wanted=lambda name: not options.rows or name.startswith(tuple(options.rows)),
        quick=options.quick,
        with_wrk=version is not None,
        peers=options.peers,
    )
    passes: list[Pass] = []
    memory: list[Memory] = []
    with ExitStack() as ends:
        stack = Stack(ends)
        known = conditions(stack, version, plan)
        for _ in range(plan.passes):
            passes.append(_run(plan, stack))
            if plan.wanted("memory") and not plan.peers:
                memory += measure_memory(stack)
    if not any(passes) and not memory:
        print("No row matches --rows.", file=sys.stderr)
        return 1
    results = Results.of(known, passes, memory)
    _show(results)
    usual = COMPARISON if plan.peers else RESULTS
    if file := options.json or (None if options.quick or options.rows else usual):
        results.write(file)
        print(f"\nWritten to {file}; `python -m benchmarks.report` generates the page.")
    return 0


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="one pass, 16 clients, short windows: a few minutes"
    )
    parser.add_argument(
        "--peers", action="store_true", help="measure the service beside its peers instead"
    )
    parser.add_argument(
        "--rows",
        type=lambda value: value.split(","),
        metavar="ROW,…",
        help="measure only rows with these prefixes (`memory`: memory) and `bare`",
    )
    parser.add_argument(
        "--json",
        type=Path,
        metavar="FILE",
        help="write to FILE (default: docs/performance.json or docs/comparison.json, or nowhere"
        " for a partial run)",
    )
    return parser.parse_args()


def _run(plan: Plan, stack: Stack) -> Pass:
    """Measure everything once and print the progress to stderr."""
    measured: Pass = {}
    began = time.monotonic()
    everything = chain.from_iterable(
        measure_scenario(plan, stack, scenario) for scenario in plan.scenarios(stack.engines())
    )
    for case, measurement in everything:
        measured[case] = measurement
        name = f"{case.setting.service}: {case.row}, {case.clients} clients"
        progress = f"{time.monotonic() - began:4.0f} s  {name}"
        print(f"{progress}: {measurement.cpu_ms:.2f} CPU ms", file=sys.stderr, flush=True)
    return measured


def _show(results: Results) -> None:
    print(f"\nLoad generator: {results.conditions['load_generator']}\n")
    print(markdown(HEADINGS, [cells(result) for result in results.rows]))
    for one in results.memory:
        print(f"\n{one.row}: {number(one.at_rest)} MB at rest, {number(one.peak)} MB at most")
    print()
    for verdict in verdicts(results, results):
        if verdict.measured:
            measured = f"{verdict.result()} of {verdict.limit:g}"
            print(f"{verdict.target}: {measured}, {verdict.sentence().replace('*', '')}")


if __name__ == "__main__":
    sys.exit(main())
