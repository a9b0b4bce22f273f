"""The service beside its peers: what each takes for the same request."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

from benchmarks.peers import IPX, PEERS, PLAIN, THUMBOR
from benchmarks.results import STORED, UPLOADS, Result, Results
from benchmarks.scenarios import COMPARED_READS, COMPARED_WRITES
from benchmarks.stack import OURS
from benchmarks.supabase import SUPABASE, UNITS_OF_BARE
from benchmarks.table import markdown, number
from benchmarks.variants import COLD, WARM

NAMES = {
    OURS: "this service",
    PLAIN: "plain FastAPI + boto3",
    SUPABASE: "Supabase Storage",
    THUMBOR: "thumbor",
    IPX: "ipx (sharp)",
}
# The columns of a peer's figures: the field, and whether more of it is better.
_COLUMNS = {
    "CPU ms": ("cpu_ms", False),
    "req/s": ("requests_per_second", True),
    "p99 ms": ("p99_ms", False),
    "peak RSS, MB": ("peak_mb", False),
    "KB": ("output_bytes", False),
    "SSIM": ("ssim", True),
}
_NOISE = 0.05
_NOTICEABLE_SSIM = 0.005


@dataclass(frozen=True)
class Figure:
    """The CPU of one service for a request; `result` is None if it is of another run."""

    service: str
    cpu_ms: float
    result: Result | None


@dataclass(frozen=True)
class Comparison:
    """A request, and the figures of this service and of at least one peer."""

    row: str
    ours: Result
    peers: tuple[Figure, ...]

    @property
    def figures(self) -> tuple[Figure, ...]:
        """All figures; those of this service first."""
        return (Figure(OURS, self.ours.cpu_ms, self.ours), *self.peers)


def requests(results: Results) -> list[Comparison]:
    """Compare everything but variants."""
    reads = (_compare(results, row, STORED | {"inspection": "header"}) for row in COMPARED_READS)
    writes = (_compare(results, row, UPLOADS) for row in COMPARED_WRITES)
    return list(chain(*reads, *writes))


def variants(results: Results) -> list[Comparison]:
    """Compare variants that are made, and those that are stored already."""
    cold = (_compare(results, row, UPLOADS | {"clients": 1}) for row in COLD)
    warm = (_compare(results, row, UPLOADS) for row in WARM)
    return list(chain(*cold, *warm))


def _compare(results: Results, row: str, setting: dict[str, object]) -> Iterator[Comparison]:
    ours = results.find(row, **setting)
    if not ours:
        return
    found = (results.find(row, **setting, service=peer) for peer in PEERS)
    peers = [Figure(one.service, one.cpu_ms, one) for one in found if one]
    if row in UNITS_OF_BARE and ours.to_bare:
        scaled = UNITS_OF_BARE[row] * ours.cpu_ms / ours.to_bare
        peers.append(Figure(SUPABASE, scaled, None))
    if peers:
        yield Comparison(row, ours, tuple(peers))


def table(compared: list[Comparison]) -> str:
    """Render one line for each request and service; bold where a peer is ahead of this service."""
    lines = [
        (
            one.row if figure.service == OURS else "",
            NAMES[figure.service],
            number(figure.cpu_ms / one.ours.cpu_ms),
            *(_cell(one, figure, field, more=more) for field, more in _COLUMNS.values()),
        )
        for one in compared
        for figure in one.figures
    ]
    return markdown(("request", "service", "CPU ratio", *_COLUMNS), lines)


def _cell(one: Comparison, figure: Figure, field: str, *, more: bool) -> str:
    value = figure.cpu_ms if field == "cpu_ms" else getattr(figure.result, field, 0)
    if not value:
        return ""
    text = f"{value:.3f}" if field == "ssim" else number(value)
    if field == "output_bytes":
        text = number(value / 1000)
    own = getattr(one.ours, field)
    noise = _NOTICEABLE_SSIM if field == "ssim" else _NOISE
    ahead = value > own * (1 + noise) if more else value < own * (1 - noise)
    return f"**{text}**" if ahead else text
