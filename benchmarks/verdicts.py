"""The targets of the benchmarks, and the results of Supabase Storage for comparison."""

from dataclasses import dataclass

from benchmarks.results import STORED, UPLOADS, Results


@dataclass(frozen=True)
class Verdict:
    """A target and its result; `measured` is None if nothing was measured."""

    target: str
    limit: float
    measured: float | None
    peer: str
    at_least: bool = False

    def sentence(self) -> str:
        """Return whether the target is met, and by how much it is missed."""
        if self.measured is None:
            return "not measured"
        share = self.measured / self.limit - 1
        met = share >= 0 if self.at_least else share <= 0
        return "met" if met else f"**missed by {abs(share):.0%}**"


# Maximum CPU per request in units of `bare`, and that of Supabase Storage 1.11.
_UNITS_OF_BARE = [
    ("metadata", STORED, 1.5, "2.0"),
    ("random", {"images": 10**6}, 2, ""),
    ("list 100", STORED, 3.5, "6"),
    ("304", STORED, 1.5, ""),
    ("redirect", STORED, 1.7, ""),
    ("GET 100 KB", STORED, 4, "7"),
    ("GET 1 MB", STORED, 6, "23"),
    ("GET 20 MB", STORED, 50, "330"),
    ("upload 100 KB", UPLOADS, 9, "15"),
    ("upload 5 MB", UPLOADS, 80, "180"),
]
# Maximum context switches of the service per request.
_SWITCHES = [("metadata", STORED, 5), ("upload 100 KB", UPLOADS, 15)]


def verdicts(results: Results) -> list[Verdict]:
    """Return the verdict on every target."""
    judged = []
    for row, setting, limit, peer in _UNITS_OF_BARE:
        found = results.find(row, **setting)
        target = f"{row}: CPU in units of bare"
        judged.append(Verdict(target, limit, found.to_bare if found else None, peer))
    for row, setting, most in _SWITCHES:
        found = results.find(row, **setting)
        judged.append(
            Verdict(f"{row}: context switches", most, found.switches if found else None, "")
        )
    judged.append(_upload_of_one(results))
    judged.append(_memory(results, "16 uploads of 25 MB", 200, "949"))
    judged.append(_memory(results, "sustained uploads of 5 MB", 250, "800"))
    return [*judged, *(_scaling(results, row) for row in ("metadata", "GET 100 KB"))]


def _memory(results: Results, row: str, most: int, peer: str) -> Verdict:
    peak = next((one.peak for one in results.memory if one.row.startswith(row)), None)
    return Verdict(f"{row}: peak RSS in MB", most, peak, peer)


def _upload_of_one(results: Results) -> Verdict:
    """Compare the time of an upload by one client with that of the same PUT to the store."""
    ours, theirs = (
        results.find(row, clients=1, **UPLOADS) for row in ("upload 5 MB", "S3 PUT 5 MB")
    )
    share = ours.p50_ms / theirs.p50_ms if ours and theirs else None
    return Verdict("upload 5 MB, one client: p50 in units of S3 PUT 5 MB", 1.3, share, "")


def _scaling(results: Results, row: str) -> Verdict:
    one, two = (results.find(row, images=1000, workers=number) for number in (1, 2))
    gain = two.requests_per_second / one.requests_per_second if one and two else None
    return Verdict(f"{row}: req/s of two workers over one", 1.5, gain, "", at_least=True)
