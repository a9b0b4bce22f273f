"""`python -m benchmarks.report`: write docs/performance.md, its chart and the sizing table."""

import argparse
import sys
from pathlib import Path
from typing import Any

from benchmarks import COMPARISON, RESULTS, sizing
from benchmarks.chart import svg
from benchmarks.comparison import requests, table, variants, where_peers_win
from benchmarks.results import Result, Results
from benchmarks.stack import OURS
from benchmarks.table import HEADINGS, cells, describe, markdown, number
from benchmarks.verdicts import Verdict, verdicts

_PAGE = """\
# Performance

`make bench-peers` measured this service beside others (`docs/comparison.json`), `make bench` how it
behaves with more clients, rows and workers (`docs/performance.json`), and `python -m
benchmarks.report` generated this page from both. Do not edit it.

![CPU per request of this service and of its peers]({picture})

## Beside other services

All but Supabase Storage were measured in one run, with the same load, pictures and machine. The CPU
is that of all processes of a service, including those that ended.

- **plain FastAPI + boto3** (`benchmarks/plain`) is what one writes in an afternoon: `UploadFile`,
  `upload_fileobj`, SQLAlchemy's ORM and `StreamingResponse`, under the same uvicorn. It neither
  inspects pictures nor journals its writes.
- **thumbor** and **ipx** (sharp, libvips) make variants. Both read pictures from a folder, which
  costs less than S3. thumbor stores its results in another; ipx stores nothing. This service works
  on S3 and PostgreSQL. Each encodes with its own defaults.
- **Supabase Storage** 1.11 (Node 24) was measured on 2026-11-28 with the same PostgreSQL and
  SeaweedFS. The figures are its CPU in units of `bare`, times `bare` in this run. It neither
  inspects images nor journals its writes. *redirect* is compared with its signing of a URL.

Uploads are inspected by header only here; *inspection full*, further down, checks every pixel.
A *cold* variant is made and stored, one request at a time, each of another picture. A *warm* one is
stored already. The pictures are drawn: noise with the scales of a photograph, and hard edges; the
PNG has an alpha channel. SSIM is the likeness to the whole picture reduced by Lanczos; 1 is equal.
*Of ours* is the CPU in units of this service's.

{compared}

### Where a peer is ahead

The peer's figure in units of this service's, where it is better by more than 5 %, or 0.5 % in SSIM:

{ahead}

## Targets

With 16 clients and one worker; cold variants with one client. The limits are in
`benchmarks/verdicts.py`.

{targets}

What stands in the way of the targets that are missed:

{reasons}

## Method

{conditions}

| column | meaning |
|---|---|
| CPU ms/req | user and system time of the service's processes per request |
| switches/req | how often a thread of the service was switched out |
| x bare | CPU time in units of an empty sync FastAPI endpoint under the same uvicorn command |
| x S3 req/s | requests per second, divided by those of the store itself (presigned URLs) |
| peak RSS | sum of the peaks of resident memory of all processes during the load |

All ratios are taken within one pass, and `bare` is measured again before each set-up of the
service. The load generator, the service, the database and the store share the cores, so the
requests per second are a lower bound. Plan with the CPU per request. Rows called *access log* were
measured with the access log on, which is the default; all others, and `bare`, with it off.

To repeat the measurement, run `make bench-peers bench` and then `.venv/bin/python -m
benchmarks.report`, which writes this page, the picture and the table of [sizing.md](sizing.md).
This requires Linux, and Node.js with npm for ipx. It uses wrk, which is installed if possible.
`TEST_DB_URL` and `TEST_MARIADB_URL` name the database servers. Without the first, PostgreSQL is
embedded and does not fsync, which shortens writes but does not change the CPU time of the service.
Without the second, MariaDB is not measured.

## Memory

{memory}

## Growth

CPU ms per request / p50 in ms with 16 clients, by the number of rows in the table.

{growth}

## Concurrency

Requests per second / p99 in ms with one worker, by the number of clients.

{concurrency}

## Workers

Requests per second / CPU ms per request with 16 clients, by the number of workers.

{workers}

## All results of `make bench`

{table}

## All results of this service in `make bench-peers`

{ours}
"""


def page(compared: Results, alone: Results, picture: str) -> str:
    """Render docs/performance.md from the results of `make bench-peers` and of `make bench`."""
    judged = verdicts(compared, alone)
    everything = [*requests(compared), *variants(compared)]
    return _PAGE.format(
        picture=picture,
        compared=table(everything),
        ahead=where_peers_win(everything),
        conditions="\n".join(map(_conditions, (compared.conditions, alone.conditions))),
        targets=_targets(judged),
        reasons=_reasons(judged),
        memory=markdown(
            ("", "RSS at rest, MB", "peak, MB"),
            [(one.row, number(one.at_rest), number(one.peak)) for one in alone.memory],
        ),
        growth=_growth(alone.rows),
        concurrency=_concurrency(alone.rows),
        workers=_workers(alone.rows),
        table=markdown(HEADINGS, [cells(result) for result in alone.rows]),
        ours=markdown(
            HEADINGS, [cells(result) for result in compared.rows if result.service == OURS]
        ),
    )


def _conditions(known: dict[str, Any]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in known["versions"].items())
    return (
        f"- `{known['command']}`: {known['date']}; {known['cpu']}, {known['cores']} cores,"
        f" {known['memory_gb']} GB; load average before: {known['load_average_before']}\n"
        f"- {versions}\n"
        f"- {known['load_generator']}; {_passes(known['passes'])}, each with fresh"
        f" processes and windows of {known['window_seconds']} s"
    )


def _passes(number: int) -> str:
    return f"medians of {number} passes" if number > 1 else "one pass"


def _targets(judged: list[Verdict]) -> str:
    return markdown(
        ("target", "limit", "measured", "verdict"),
        [(one.target, f"≤ {one.limit:g}", one.result(), one.sentence()) for one in judged],
    )


def _reasons(judged: list[Verdict]) -> str:
    """List each reason once, with the targets that are missed because of it."""
    targets: dict[str, list[str]] = {}
    for one in judged:
        if one.missed:
            targets.setdefault(one.reason, []).append(one.target)
    return "\n".join(f"- {reason} ({'; '.join(missed)})" for reason, missed in targets.items())


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


def _workers(rows: list[Result]) -> str:
    """Render the rows that were measured with more than one number of workers."""
    chosen = [
        one for one in rows if one.clients == 16 and one.images == 1000 and not one.access_log
    ]
    numbers = sorted({one.workers for one in chosen})
    lines: dict[str, dict[int, str]] = {}
    for one in chosen:
        lines.setdefault(describe(one), {})[one.workers] = (
            f"{number(one.requests_per_second)} / {number(one.cpu_ms)}"
        )
    return _pivot([str(value) for value in numbers], numbers, lines)


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
    parser.add_argument(
        "--folder", type=Path, default=RESULTS.parent, help="where the results are (default: docs)"
    )
    folder: Path = parser.parse_args().folder
    alone, compared = (Results.read(folder / file.name) for file in (RESULTS, COMPARISON))
    picture = folder / "performance.svg"
    picture.write_text(svg(compared))
    (folder / "performance.md").write_text(page(compared, alone, picture.name))
    if (sizing_page := folder / "sizing.md").exists():
        sizing_page.write_text(sizing.rewrite(sizing_page.read_text(), alone))
    return 0


if __name__ == "__main__":
    sys.exit(main())
