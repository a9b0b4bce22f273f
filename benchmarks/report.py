"""`python -m benchmarks.report`: write docs/performance.md, its chart and the sizing table."""

import argparse
import sys
from pathlib import Path
from typing import Any

from benchmarks import COMPARISON, RESULTS, sizing
from benchmarks.chart import svg
from benchmarks.comparison import requests, table, variants
from benchmarks.results import Result, Results
from benchmarks.table import describe, markdown, number
from benchmarks.verdicts import Verdict, verdicts

_PAGE = """\
# Performance

`python -m benchmarks.report` generated this page. Do not edit it. `make bench-peers` compared the
service with others (`docs/comparison.json`), and `make bench` measured it with more clients, rows
and workers (`docs/performance.json`). The two files have further figures.

![CPU per request of this service and of its peers]({picture})

## Comparison with other services

*CPU ratio* is the CPU in units of this service's, each with all processes. A figure of a peer is
**bold** if it is better than that of this service by more than 5 %, or 0.5 % in SSIM.

{compared}

All but Supabase Storage were measured in one run with the same load and pictures.

- **plain FastAPI + boto3** (`benchmarks/plain`) is a minimal implementation with `UploadFile`,
  `upload_fileobj`, SQLAlchemy's ORM and `StreamingResponse`, under the same uvicorn. It neither
  inspects pictures nor journals its writes.
- **thumbor** and **ipx** (sharp, libvips) read pictures from a folder, which costs less than S3.
  thumbor stores its results in another folder; ipx stores nothing. All three use their defaults.
- **Supabase Storage** 1.11 (Node 24) was measured on 2026-11-28 with the same PostgreSQL and
  SeaweedFS. Its figures are its CPU in units of `bare`, times `bare` in this run. It neither
  inspects images nor journals its writes. *redirect* is compared with its signing of a URL.

Uploads are inspected by header only. A *cold* variant is made and stored, one request at a time,
each of another picture. A *warm* one is already stored. The pictures are synthetic: noise with the
scales of a photograph, and hard edges; the PNG has an alpha channel. SSIM is the similarity to the
whole picture reduced by Lanczos; 1 means equal.

## Missed targets

{met} of {count} targets are met (`benchmarks/verdicts.py`), with one worker and 16 clients, or one
client for cold variants. `bare` is an empty synchronous FastAPI endpoint under the same uvicorn
command. These targets are missed:

{missed}

## Method

{conditions}

CPU is the user and system time of the service's processes. Peak RSS is the sum of the peaks of
resident memory of all processes under load. All ratios are taken within one pass, and `bare` is
measured again before each set-up of the service. The load generator, the service, the database and
the store share the cores, so plan with the CPU per request: the requests per second are a lower
bound. The access log is off, except in rows called *access log*.

To repeat the measurement, run `make bench-peers bench` and then `.venv/bin/python -m
benchmarks.report`, which also writes the picture and the table of [sizing.md](sizing.md). This
requires Linux, and Node.js with npm for ipx. wrk is installed if possible. `TEST_DB_URL` and
`TEST_MARIADB_URL` name the database servers. Without the first, PostgreSQL is embedded and does not
fsync, which shortens writes but does not change the CPU time of the service. Without the second,
MariaDB is not measured.

## Memory

{memory}

## Options

CPU per request in units of `bare`, with 16 clients.

{options}

## Growth

CPU ms per request / p50 in ms with 16 clients, by the number of rows in the table.

{growth}

## Concurrency

Requests per second / p99 in ms with one worker, by the number of clients.

{concurrency}

## Workers

Requests per second / CPU ms per request with 16 clients, by the number of workers.

{workers}
"""


def page(compared: Results, alone: Results, picture: str) -> str:
    """Render docs/performance.md from the results of `make bench-peers` and of `make bench`."""
    judged = verdicts(compared, alone)
    return _PAGE.format(
        picture=picture,
        compared=table([*requests(compared), *variants(compared)]),
        conditions=_conditions(compared.conditions, alone.conditions),
        met=sum(one.measured is not None and not one.missed for one in judged),
        count=len(judged),
        missed=_missed(judged),
        memory=markdown(
            ("", "RSS at rest, MB", "peak, MB"),
            [(one.row, number(one.at_rest), number(one.peak)) for one in alone.memory],
        ),
        options=_options(alone),
        growth=_growth(alone.rows),
        concurrency=_concurrency(alone.rows),
        workers=_workers(alone.rows),
    )


def _conditions(*measured: dict[str, Any]) -> str:
    """List the conditions of each measurement, with the versions that differ from the previous."""
    lines = []
    versions: dict[str, str] = {}
    for known in measured:
        lines.append(
            f"- `{known['command']}`: {known['date']}; {known['cpu']}, {known['cores']} cores,"
            f" {known['memory_gb']} GB, load average before {known['load_average_before']};"
            f" {known['load_generator']}; {_passes(known['passes'])}, each with fresh processes and"
            f" windows of {known['window_seconds']} s"
        )
        new = [
            f"{name} {version}"
            for name, version in known["versions"].items()
            if versions.get(name) != version
        ]
        lines += [f"- {', '.join(new)}"] if new else []
        versions |= known["versions"]
    return "\n".join(lines)


def _passes(number: int) -> str:
    return f"medians of {number} passes" if number > 1 else "one pass"


def _missed(judged: list[Verdict]) -> str:
    """List each reason once, after the targets that are missed because of it."""
    targets: dict[str, list[str]] = {}
    for one in judged:
        if one.missed:
            text = f"{one.target} = {one.result()} (limit {one.limit:g})"
            targets.setdefault(one.reason, []).append(text)
    return "\n".join(f"- {'; '.join(missed)}. {reason}" for reason, missed in targets.items())


def _options(results: Results) -> str:
    """Render the rows with the access log or full inspection, beside those without."""
    lines = []
    for one in results.rows:
        usual = results.find(one.row, images=one.images, inspection="header")
        optional = one.access_log or one.inspection == "full"
        if usual and optional and one.clients == usual.clients and one.row != "bare":
            lines.append((describe(one), number(one.to_bare), number(usual.to_bare)))
    return markdown(("", "with the option", "without"), lines)


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
