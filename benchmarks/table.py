"""The table of results, for the terminal and for Markdown."""

from collections.abc import Sequence

from benchmarks.results import Result
from benchmarks.stack import OURS

HEADINGS = (
    "row", "rows in table", "workers", "clients", "req/s", "MB/s", "p50 ms", "p99 ms", "CPU ms/req",
    "switches/req", "x bare", "x S3 req/s", "peak RSS, MB",
    "errors",
)  # fmt: skip


def cells(result: Result) -> tuple[str, ...]:
    """Render one result as cells."""
    return (
        describe(result),
        f"{result.images:,}" if result.images else "",
        str(result.workers),
        str(result.clients),
        number(result.requests_per_second),
        number(result.mb_per_second),
        number(result.p50_ms),
        number(result.p99_ms),
        number(result.cpu_ms),
        number(result.switches),
        number(result.to_bare),
        number(result.to_s3),
        number(result.peak_mb),
        str(result.errors or ""),
    )


def describe(result: Result) -> str:
    """Return the name of a row and what differs from the usual measurement."""
    special = [
        result.service if result.service != OURS else "",
        "inspection full" if result.inspection == "full" else "",
        "MariaDB" if result.engine == "mariadb" else "",
        "access log" if result.access_log else "",
    ]
    setting = ", ".join(filter(None, special))
    before = "before " if result.row == "bare" else ""
    return f"{result.row}, {before}{setting}" if setting else result.row


def number(value: float | None) -> str:
    """Render with three significant digits; an empty string for None and 0."""
    if not value:
        return ""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def markdown(headings: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Render a table with aligned source: the first column left, the others right."""
    widths = [max(map(len, column)) for column in zip(headings, *lines, strict=True)]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    return "\n".join(
        "| "
        + " | ".join(
            cell.rjust(width) if number else cell.ljust(width)
            for number, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        + " |"
        for line in [headings, rule, *lines]
    )
