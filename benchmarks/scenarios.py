"""The measured scenarios, their rows and the numbers of clients."""

from dataclasses import replace

from benchmarks.deployment import Scenario
from benchmarks.peers import IPX, PLAIN, THUMBOR
from benchmarks.stack import Setting
from benchmarks.variants import COLD, WARM
from benchmarks.workloads import SIZES

_BOTH = (1, 16)
_RISING = (1, 4, 16, 64, 256)
_BUSY = (16,)
_ALONE = (1,)

_READS = {
    "metadata": _RISING,
    "random": _BOTH,
    "list 100": _BOTH,
    "304": _BOTH,
    "redirect": _BOTH,
    "S3 GET 10 KB": _BOTH,
    "GET 10 KB": _BOTH,
    "S3 GET 100 KB": _BOTH,
    "GET 100 KB": _RISING,
    "S3 GET 1 MB": _BOTH,
    "GET 1 MB": _BOTH,
    "S3 GET 20 MB": _BOTH,
    "GET 20 MB": _BOTH,
    "overwrite 100 KB": (1, 16, 256),
}
_UPLOADS = {"upload 10 KB": _BOTH, "upload 100 KB": _BOTH, "upload 5 MB": _BOTH}
_INSPECTED = {"upload 100 KB": _BUSY, "upload 5 MB": _BUSY}
_S3_PUTS = {f"S3 PUT {size}": _BOTH for size in ("10 KB", "100 KB", "5 MB")}
_TWO_WORKERS = {"metadata": _BUSY, "GET 100 KB": _BUSY, "overwrite 100 KB": _BUSY}
_LOGGED = {"metadata": _BUSY, "GET 100 KB": _BUSY}
_GROWTH = {"metadata": _BUSY, "random": _BUSY, "list 100": _BUSY, "overwrite 100 KB": _BUSY}

COMPARED_READS = {"metadata": _BUSY, "random": _BUSY, "list 100": _BUSY, "redirect": _BUSY}
COMPARED_READS |= {f"GET {size}": _BUSY for size in ("10 KB", "100 KB", "1 MB", "20 MB")}
COMPARED_WRITES = {f"upload {size}": _BUSY for size in SIZES} | {"delete": _BUSY}
_COLD, _WARM = dict.fromkeys(COLD, _ALONE), dict.fromkeys(WARM, _BUSY)


def comparison(engines: list[str]) -> list[Scenario]:
    """Return the scenarios of the service and its peers; MariaDB's only if it is available."""
    stored, empty = Setting(), Setting(images=0)
    chosen = [
        Scenario(stored, COMPARED_READS | {"304": _BUSY}),
        Scenario(replace(stored, service=PLAIN), COMPARED_READS),
        Scenario(empty, COMPARED_WRITES),
        Scenario(replace(empty, service=PLAIN), COMPARED_WRITES),
        Scenario(Setting(images=0, inspection="full"), _INSPECTED),
        Scenario(empty, _COLD | {"GET 10 KB": _BUSY} | _WARM),
        Scenario(replace(empty, service=THUMBOR), _COLD | _WARM),
        Scenario(replace(empty, service=IPX), _COLD),
    ]
    if "mariadb" in engines:
        chosen.append(Scenario(Setting("mariadb"), {"metadata": _BUSY}))
    return chosen


def scenarios(engines: list[str], *, quick: bool) -> list[Scenario]:
    """Return all scenarios; those of MariaDB only if it is available and the run is not quick."""
    chosen = [
        Scenario(Setting(), _READS),
        Scenario(Setting(images=0), _UPLOADS | _S3_PUTS | {"delete": _BOTH}),
        Scenario(Setting(images=0, inspection="full"), _UPLOADS),
        Scenario(Setting(workers=2), _TWO_WORKERS),
        Scenario(Setting(access_log=True), _LOGGED),
        Scenario(Setting(images=1_000_000), _GROWTH),
    ]
    if quick:
        return chosen
    chosen.append(Scenario(Setting(images=100_000), _GROWTH))
    if "mariadb" in engines:
        sizes = (1_000, 100_000, 1_000_000)
        chosen += [Scenario(Setting("mariadb", images), _GROWTH) for images in sizes]
    return chosen
