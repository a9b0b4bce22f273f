"""The table of CPU and cost in docs/sizing.md; the rest of that page is written by hand."""

import re
from typing import Any, NamedTuple

from benchmarks.photos import KB, MB
from benchmarks.results import INSPECTED, STORED, Results
from benchmarks.table import markdown, number

_VCPU_HOUR, _GET, _PUT, _GB = 0.04, 0.40e-6, 5.00e-6, 0.09  # USD
_LIST_BYTES = 55_000
_HEADINGS = (
    "request", "CPU ms", "per second and vCPU", "CPU per million", "S3 per million",
    "traffic per million",
)  # fmt: skip
_TABLE = re.compile(r"^\| request .*?\n(?!\|)", re.MULTILINE | re.DOTALL)


class _Request(NamedTuple):
    """A row of the benchmarks, and what one such request costs outside the service."""

    name: str
    row: str
    setting: dict[str, Any]
    s3: float = 0
    sent_bytes: int = 0


_REQUESTS = (
    _Request("metadata", "metadata", STORED),
    _Request("304", "304", STORED),
    _Request("list of 100", "list 100", STORED, 0, _LIST_BYTES),
    _Request("redirect", "redirect", STORED, _GET),
    _Request("GET of 100 KB", "GET 100 KB", STORED, _GET, 100 * KB),
    _Request("GET of 1 MB", "GET 1 MB", STORED, _GET, MB),
    _Request("GET of 20 MB", "GET 20 MB", STORED, _GET, 20 * MB),
    _Request("upload of 100 KB, inspected in full", "upload 100 KB", INSPECTED, _PUT),
    _Request("upload of 5 MB, inspected in full", "upload 5 MB", INSPECTED, _PUT),
)


def rewrite(page: str, results: Results) -> str:
    """Return the page with the table of these results in place of its own."""
    return _TABLE.sub(lambda _: table(results) + "\n", page, count=1)


def table(results: Results) -> str:
    """Render the table without requests that were not measured."""
    lines = [
        _line(request, found.cpu_ms)
        for request in _REQUESTS
        if (found := results.find(request.row, **request.setting))
    ]
    return markdown(_HEADINGS, lines)


def _line(request: _Request, cpu_ms: float) -> tuple[str, ...]:
    cpu = cpu_ms / 1000 * 1e6 / 3600 * _VCPU_HOUR
    traffic = request.sent_bytes / 1e9 * 1e6 * _GB
    return (
        request.name,
        number(cpu_ms),
        f"{1000 / cpu_ms:,.0f}",
        f"{cpu:.3f} USD",
        f"{request.s3 * 1e6:.2f} USD",
        f"{traffic:,.2f} USD" if traffic else "-",
    )
