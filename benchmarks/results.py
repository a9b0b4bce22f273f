"""Medians over all passes, and ratios that do not depend on the machine."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.measure import Case, Measurement
from benchmarks.memory import Memory
from benchmarks.peers import PEERS
from benchmarks.stack import OURS

Pass = dict[Case, Measurement]

STORED: dict[str, Any] = {"images": 1000}
UPLOADS: dict[str, Any] = {"images": 0, "inspection": "header"}
INSPECTED: dict[str, Any] = {"images": 0, "inspection": "full"}
"""Criteria of `Results.find` for reads, for uploads, and for uploads inspected in full."""

_MEDIANS = (
    "requests_per_second", "mb_per_second", "p50_ms", "p99_ms", "cpu_ms", "switches", "peak_mb",
    "output_bytes", "ssim",
)  # fmt: skip


@dataclass(frozen=True)
class Result:
    """One row of the results. Ratios are taken within one pass; None if there is no ratio."""

    row: str
    engine: str
    images: int
    workers: int
    inspection: str
    access_log: bool
    clients: int
    requests_per_second: float
    mb_per_second: float
    p50_ms: float
    p99_ms: float
    cpu_ms: float
    switches: float
    errors: int
    to_bare: float | None  # CPU per request, in units of `bare` in the same scenario
    to_s3: float | None  # requests per second, divided by those of S3 itself
    to_peers: dict[str, float] = field(default_factory=dict)  # CPU, divided by that of each peer
    service: str = OURS
    peak_mb: float = 0
    output_bytes: float = 0
    ssim: float = 0

    @classmethod
    def of(cls, case: Case, passes: list[Pass]) -> "Result":
        """Take the medians of one case."""
        measurements = [one[case] for one in passes if case in one]
        medians = {
            name: round(median(getattr(one, name) for one in measurements), 3) for name in _MEDIANS
        }
        return cls(
            case.row,
            **asdict(case.setting),
            clients=case.clients,
            **medians,
            errors=sum(one.errors for one in measurements),
            to_bare=_median(_to_bare(case, one) for one in passes),
            to_s3=_median(_to_s3(case, one) for one in passes),
            to_peers=_to_peers(case, passes) if case.setting.service == OURS else {},
        )


def _to_bare(case: Case, one: Pass) -> float | None:
    unit = one.get(Case("bare", case.clients, case.setting))
    return one[case].cpu_ms / unit.cpu_ms if unit and case in one and one[case].cpu_ms else None


def _to_s3(case: Case, one: Pass) -> float | None:
    verb, _, size = case.row.partition(" ")
    row = {"GET": f"S3 GET {size}", "upload": f"S3 PUT {size}"}.get(verb)
    for other, measurement in one.items():
        if (other.row, other.clients) == (row, case.clients) and case in one:
            unit = measurement.requests_per_second
            return one[case].requests_per_second / unit if unit else None
    return None


def _to_peers(case: Case, passes: list[Pass]) -> dict[str, float]:
    """Return the CPU per request, divided by that of each peer in the same pass."""
    ratios = {}
    for peer in PEERS:
        other = replace(case, setting=replace(case.setting, service=peer))
        measured = [one for one in passes if case in one and other in one]
        if measured:
            shares = [one[case].cpu_ms / one[other].cpu_ms for one in measured]
            ratios[peer] = round(median(shares), 3)
    return ratios


def _median(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return round(median(known), 3) if known else None


@dataclass(frozen=True)
class Results:
    """The results of `python -m benchmarks`."""

    conditions: dict[str, Any]  # date, machine, versions and method
    rows: list[Result]
    memory: list[Memory]

    @classmethod
    def of(cls, conditions: dict[str, Any], passes: list[Pass], memory: list[Memory]) -> "Results":
        """Take the medians of all passes."""
        cases = {case: None for one in passes for case in one}  # in order, each once
        names = {one.row: None for one in memory}
        return cls(
            conditions,
            [Result.of(case, passes) for case in cases],
            [
                Memory(
                    name,
                    round(median(one.at_rest for one in memory if one.row == name), 1),
                    round(median(one.peak for one in memory if one.row == name), 1),
                )
                for name in names
            ],
        )

    @classmethod
    def read(cls, file: Path) -> "Results":
        """Read results from a JSON file."""
        document = json.loads(file.read_text())
        return cls(
            document["conditions"],
            [Result(**row) for row in document["rows"]],
            [Memory(**row) for row in document["memory"]],
        )

    def write(self, file: Path) -> None:
        """Write the results to a JSON file."""
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(asdict(self), indent=1) + "\n")

    def find(self, row: str, **wanted: Any) -> Result | None:
        """Return a row; by default of this service with one worker, no log and 16 clients."""
        wanted = {
            "row": row,
            "clients": 16,
            "workers": 1,
            "engine": "postgresql",
            "access_log": False,
            "service": OURS,
        } | wanted
        return next(
            (one for one in self.rows if wanted.items() <= asdict(one).items()),
            None,
        )
