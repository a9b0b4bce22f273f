"""The targets of the benchmarks, and whether the results meet them."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from benchmarks.comparison import NAMES, Comparison, requests, variants
from benchmarks.peers import IPX, PLAIN, THUMBOR
from benchmarks.results import INSPECTED, STORED, UPLOADS, Result, Results
from benchmarks.supabase import PEAK_MB, SUPABASE
from benchmarks.table import number
from benchmarks.variants import COLD, WARM

# Maximum CPU per request in units of `bare`.
_UNITS_OF_BARE: tuple[tuple[str, dict[str, Any], float], ...] = (
    ("metadata", STORED, 2.4),
    ("random", STORED, 2.7),
    ("list 100", STORED, 4.5),
    ("304", STORED, 2.7),
    ("redirect", STORED, 2.6),
    ("GET 10 KB", STORED, 4.8),
    ("GET 100 KB", STORED, 5),
    ("upload 100 KB", UPLOADS, 13),
)
# Maximum CPU in units of a peer's.
_REQUESTS = {PLAIN: 1.0, SUPABASE: 1.0}
_COLD = {THUMBOR: 1.0, IPX: 1.1}
_MOST_BYTES = 1.05  # of a variant, in units of a peer's
_MOST_SSIM = 1.01  # of a peer, in units of ours
# Why a target is missed, by the beginning of the target.
_REASONS = {
    "list 100": "psycopg2 parses 200 timestamps, the service builds 600 addresses, and FastAPI"
    " validates four parameters.",
    "redirect": "botocore's signer takes 0.06 ms per URL, most of it for percent-encoding.",
    "every request: CPU in units of Supabase Storage": "botocore's signer takes 0.06 ms per URL,"
    " most of it for percent-encoding.",
    "every request: CPU in units of plain": "The service computes SHA-256 and reads the header.",
    "upload 100 KB, inspection full": "libjpeg takes 0.5 ms to decode at an eighth of the size, and"
    " passing the file to its process takes 0.3 ms.",
    "upload 100 KB": "The journal needs a transaction before the PUT, and the row one after it.",
    "cold variants: bytes": "The peers write progressive JPEG.",
    "cold variants: SSIM": "The peers encode WebP and AVIF at a higher quality, in more bytes.",
    "cold 320 webp of 2 MP PNG: CPU in units of ipx": "zlib and Pillow's scalar filters take 45 ms"
    " to decode the PNG; libvips uses zlib-ng and SIMD filters.",
    "cold 1280 webp of 12 MP JPEG: CPU in units of ipx": "Pillow takes 29 ms to resize to 1280x960;"
    " SIMD takes 5 ms.",
    "cold": "Decoding costs every service the same. S3, the journal and the rows add 6 to 10 ms;"
    " the peer reads a local file and writes one at most.",
    "warm": "The request reads the row of the image and that of the variant.",
    "metadata, MariaDB": "PyMySQL is pure Python; psycopg2 is written in C.",
    "metadata": "The request passes the middleware and runs a SELECT.",
    "random": "The request passes the middleware and runs a SELECT.",
    "304": "The request passes the middleware and runs a SELECT.",
    "GET": "The request runs a SELECT, and a GET to the store in a thread of obstore.",
}


class Measured(NamedTuple):
    """A result; of several, the worst and its row."""

    value: float
    row: str = ""


@dataclass(frozen=True)
class Verdict:
    """A target and its result; None if nothing was measured."""

    target: str
    limit: float
    measured: Measured | None

    @property
    def missed(self) -> bool:
        """Whether the result is above the limit."""
        return self.measured is not None and self.measured.value > self.limit

    @property
    def reason(self) -> str:
        """Why the target is missed; empty if unknown."""
        found = (text for start, text in _REASONS.items() if self.target.startswith(start))
        return next(found, "")

    def result(self) -> str:
        """Return what was measured, as text."""
        if self.measured is None:
            return ""
        value = number(self.measured.value)
        return f"{value} ({self.measured.row})" if self.measured.row else value

    def sentence(self) -> str:
        """Return whether the target is met, and by how much it is missed."""
        if self.measured is None:
            return "not measured"
        if not self.missed:
            return "met"
        return f"**missed by {self.measured.value / self.limit - 1:.0%}**"


def verdicts(compared: Results, alone: Results) -> list[Verdict]:
    """Return the verdict on every target, from `make bench-peers` and from `make bench`."""
    return [
        *_requests(compared),
        *_variants(variants(compared)),
        *_ratios(compared),
        *_memory(alone),
    ]


def _requests(results: Results) -> Iterator[Verdict]:
    for row, setting, limit in _UNITS_OF_BARE:
        found = results.find(row, **setting)
        share = Measured(found.to_bare) if found and found.to_bare else None
        yield Verdict(f"{row}: CPU in units of bare", limit, share)
    for peer, limit in _REQUESTS.items():
        worst = _worst(_shares(requests(results), peer))
        yield Verdict(f"every request: CPU in units of {NAMES[peer]}", limit, worst)


def _variants(compared: list[Comparison]) -> Iterator[Verdict]:
    cold = [one for one in compared if one.row in COLD]
    for peer, limit in _COLD.items():
        shares = {one.row: one for one in _shares(cold, peer)}
        for row in COLD:
            share = Measured(shares[row].value) if row in shares else None
            yield Verdict(f"{row}: CPU in units of {NAMES[peer]}", limit, share)
        yield from _quality(cold, peer)


def _quality(cold: list[Comparison], peer: str) -> Iterator[Verdict]:
    pairs = [
        (one.row, one.ours, figure.result)
        for one in cold
        for figure in one.peers
        if figure.service == peer and figure.result
    ]
    sizes = (Measured(ours.output_bytes / other.output_bytes, row) for row, ours, other in pairs)
    yield Verdict(f"cold variants: bytes in units of {NAMES[peer]}", _MOST_BYTES, _worst(sizes))
    losses = (Measured(other.ssim / ours.ssim, row) for row, ours, other in pairs)
    target = f"cold variants: SSIM of {NAMES[peer]} in units of ours"
    yield Verdict(target, _MOST_SSIM, _worst(losses))


def _ratios(results: Results) -> Iterator[Verdict]:
    """Judge ratios between rows of this service."""
    download = results.find("GET 10 KB", **UPLOADS)  # beside the warm variants
    warm = (results.find(row, **UPLOADS) for row in WARM)
    worst = _worst(
        Measured(one.cpu_ms / download.cpu_ms, one.row) for one in warm if one and download
    )
    yield Verdict("warm variants: CPU in units of GET 10 KB", 1.2, worst)
    full, header = (results.find("upload 100 KB", **one) for one in (INSPECTED, UPLOADS))
    share = _ratio(full, header)
    yield Verdict("upload 100 KB, inspection full: CPU in units of header", 1.25, share)
    mariadb = results.find("metadata", **STORED, engine="mariadb")
    share = _ratio(mariadb, results.find("metadata", **STORED))
    yield Verdict("metadata, MariaDB: CPU in units of PostgreSQL", 1.3, share)


def _ratio(one: Result | None, other: Result | None) -> Measured | None:
    """Return the CPU of one row in units of another; through `bare`, because the machine drifts."""
    if one and other and one.to_bare and other.to_bare:
        return Measured(one.to_bare / other.to_bare)
    return None


def _memory(results: Results) -> Iterator[Verdict]:
    for row, theirs in PEAK_MB.items():
        peak = next((one.peak for one in results.memory if one.row == row), None)
        share = Measured(peak / theirs) if peak else None
        yield Verdict(f"{row}: peak RSS in units of {NAMES[SUPABASE]}", 0.5, share)


def _shares(compared: Iterable[Comparison], peer: str) -> Iterator[Measured]:
    """Return the CPU in units of the peer's; within passes where both were measured in one run."""
    for one in compared:
        for figure in one.peers:
            if figure.service == peer:
                share = one.ours.to_peers.get(peer, one.ours.cpu_ms / figure.cpu_ms)
                yield Measured(share, one.row)


def _worst(measured: Iterable[Measured]) -> Measured | None:
    return max(measured, default=None)
