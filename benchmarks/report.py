"""`python -m benchmarks.report`: write docs/performance.md, its chart and the sizing table."""

import argparse
import sys
from pathlib import Path
from typing import Any

from benchmarks import RESULTS, sizing
from benchmarks.chart import svg
from benchmarks.results import Result, Results
from benchmarks.table import HEADINGS, cells, describe, markdown, number
from benchmarks.verdicts import verdicts

_PAGE = """\
# Performance

`make bench` measured these results (`docs/performance.json`), and `python -m benchmarks.report`
generated this page from them. Do not edit it.

![CPU per request of this service and of Supabase Storage]({picture})

Supabase Storage 1.11 (Node 24) was measured on the same kind of machine with the same PostgreSQL
and SeaweedFS, but in another run. It neither inspects images nor journals its writes. The picture
shows uploads that are inspected by header only, and compares a redirect with the time that Supabase
takes to sign a URL.

## Method

{conditions}

| column | meaning |
|---|---|
| CPU ms/req | user and system time of the service's processes per request |
| switches/req | how often a thread of the service was switched out, to wait or to let another run |
| x bare | CPU time in units of an empty sync FastAPI endpoint under the same uvicorn command |
| x S3 req/s | requests per second, divided by those of the store itself (presigned URLs) |

Both ratios are taken within one pass, and `bare` is measured again before each set-up of the
service. The load generator, the service, the database and the store share the cores, so the
requests per second are a lower bound. Plan with the CPU per request. Rows called *access log* were
measured with the access log on, which is the default; all others, and `bare`, with it off.

To repeat the measurement, run `make bench` and then `.venv/bin/python -m benchmarks.report`, which
writes this page, the picture and the table of [sizing.md](sizing.md). This requires Linux and uses
wrk, which is installed if possible. `TEST_DB_URL` and `TEST_MARIADB_URL` name the database servers.
Without the first, PostgreSQL is embedded and does not fsync, which shortens writes but does not
change the CPU time of the service. Without the second, MariaDB is not measured.

## Targets

With 16 clients and one worker. The limits are in `benchmarks/verdicts.py`.

{targets}

## Memory

{memory}

## Growth

CPU ms per request / p50 in ms with 16 clients, by the number of rows in the table.

{growth}

## Concurrency

Requests per second / p99 in ms with one worker, by the number of clients.

{concurrency}

## All results

{table}
"""


def page(results: Results, picture: str) -> str:
    """Render docs/performance.md."""
    return _PAGE.format(
        picture=picture,
        conditions=_conditions(results.conditions),
        targets=_targets(results),
        memory=markdown(
            ("", "RSS at rest, MB", "peak, MB"),
            [(one.row, number(one.at_rest), number(one.peak)) for one in results.memory],
        ),
        growth=_growth(results.rows),
        concurrency=_concurrency(results.rows),
        table=markdown(HEADINGS, [cells(result) for result in results.rows]),
    )


def _conditions(known: dict[str, Any]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in known["versions"].items())
    return (
        f"- {known['date']}; {known['cpu']}, {known['cores']} cores,"
        f" {known['memory_gb']} GB; load average before: {known['load_average_before']}\n"
        f"- {versions}\n"
        f"- {known['load_generator']}; {_passes(known['passes'])}, each with fresh"
        f" processes and windows of {known['window_seconds']} s"
    )


def _passes(number: int) -> str:
    return f"medians of {number} passes" if number > 1 else "one pass"


def _targets(results: Results) -> str:
    return markdown(
        ("target", "limit", "measured", "peer", "verdict"),
        [
            (
                one.target,
                f"{'≥' if one.at_least else '≤'} {one.limit:g}",
                number(one.measured),
                one.peer,
                one.sentence(),
            )
            for one in verdicts(results)
        ],
    )


def _growth(rows: list[Result]) -> str:
    """Render the rows that were measured with more than one number of images."""
    chosen = [one for one in rows if one.workers == 1 and one.clients == 16 and one.images]
    numbers = sorted({one.images for one in chosen})
    lines: dict[str, dict[int, str]] = {}
    for one in chosen:
        lines.setdefault(describe(one), {})[one.images] = (
            f"{number(one.cpu_ms)} / {number(one.p50_ms)}"
        )
    return _pivot([f"{value:,}" for value in numbers], numbers, lines)


def _concurrency(rows: list[Result]) -> str:
    """Render the rows that were measured with more than two numbers of clients."""
    chosen = [one for one in rows if one.workers == 1 and one.images == 1000]
    numbers = sorted({one.clients for one in chosen})
    lines: dict[str, dict[int, str]] = {}
    for one in chosen:
        lines.setdefault(describe(one), {})[one.clients] = (
            f"{number(one.requests_per_second)} / {number(one.p99_ms)}"
        )
    return _pivot([str(value) for value in numbers], numbers, lines, least=3)


def _pivot(
    headings: list[str], numbers: list[int], lines: dict[str, dict[int, str]], *, least: int = 2
) -> str:
    """Render the lines that have at least `least` columns."""
    return markdown(
        ("", *headings),
        [
            (name, *(line.get(value, "") for value in numbers))
            for name, line in lines.items()
            if len(line) >= least
        ],
    )


def main() -> int:
    """Write the page and the picture beside the results, and update the sizing table there."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.report", description=__doc__)
    parser.add_argument("--json", type=Path, default=RESULTS, metavar="FILE", help="the results")
    file: Path = parser.parse_args().json
    results = Results.read(file)
    picture = file.with_suffix(".svg")
    picture.write_text(svg(results))
    file.with_suffix(".md").write_text(page(results, picture.name))
    if (sizing_page := file.with_name("sizing.md")).exists():
        sizing_page.write_text(sizing.rewrite(sizing_page.read_text(), results))
    return 0


if __name__ == "__main__":
    sys.exit(main())
