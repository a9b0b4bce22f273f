"""`python -m benchmarks.growth`: what requests, sweeps and verifications cost with many rows.

Generates images in PostgreSQL (TEST_DB_URL), a tenth of them with a variant, and calls the
repositories and the maintenance without HTTP. A generated listing stands for S3.
"""

import argparse
import hashlib
import io
import os
import resource
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from statistics import median
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from benchmarks.table import markdown
from config import Settings
from db import build_engine, build_sessions
from devstack.databases import connection, fresh_database
from devstack.postgresql import postgres
from repositories import images
from repositories.images import RandomImages
from scripts.create_tables import create_tables
from services.maintenance.sweeper import Sweeper
from services.maintenance.verification import Verifier

_BATCH = 1_000_000
_CALLS, _TIMES = 100, 20
_KEY = "'img-' || lpad(CAST(i AS varchar), 8, '0')"
_OBJECT = f"{_KEY} || '-' || md5(CAST(i AS varchar)) || '.jpg'"
_IMAGES = f"""
INSERT INTO images (id, name, size_bytes, extension, content_type, sha256, width, height, s3_key,
                    created_at, last_updated_at)
SELECT i, {_KEY}, 1000, 'jpg', 'image/jpeg', repeat(md5(CAST(i AS varchar)), 2), 40, 30,
       {_OBJECT}, moment, moment
FROM generate_series(CAST(:first AS bigint), :last) AS numbers (i),
     LATERAL (SELECT timestamptz '2026-01-01 00:00:00Z' + i * interval '1 second') AS times (moment)
"""  # noqa: S608 - only constants
_VARIANTS = f"""
INSERT INTO variants (original_key, spec, s3_key, size_bytes, content_type, sha256, width, height,
                      created_at)
SELECT {_OBJECT}, 'r2/320.webp',
       {_KEY} || '-v' || md5(CAST(i AS varchar)) || '.webp', 1000, 'image/webp',
       repeat(md5(CAST(i AS varchar)), 2), 40, 30, timestamptz '2026-01-01 00:00:00Z'
FROM generate_series(CAST(:first AS bigint), :last) AS numbers (i) WHERE i % 10 = 0
"""  # noqa: S608 - only constants


class _Listing:
    """A bucket that lists what the tables name."""

    def __init__(self, number: int) -> None:
        self._number = number

    def list_objects(self) -> Iterator[tuple[str, int]]:
        """Yield keys and sizes in the order of the keys."""
        for i in range(1, self._number + 1):
            digest = hashlib.md5(str(i).encode(), usedforsecurity=False).hexdigest()
            yield f"img-{i:08}-{digest}.jpg", 1000
            if i % 10 == 0:
                yield f"img-{i:08}-v{digest}.webp", 1000


def main() -> int:
    """Measure at each number of images and print one table; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.growth", description=__doc__)
    parser.add_argument("images", type=int, nargs="+", help="numbers of images, ascending")
    numbers: list[int] = parser.parse_args().images
    columns: list[dict[str, str]] = []
    with ExitStack() as ends:
        server = ends.enter_context(postgres(os.environ.get("TEST_DB_URL")))
        url = ends.enter_context(fresh_database(server))
        settings = Settings(db_url=url, aws_region="none", aws_s3_bucket="none")
        create_tables(settings)
        before = 0
        for number in numbers:
            _fill(url, before, number)
            columns.append(_measure(settings, number))
            before = number
    headings = ("", *(f"{number:,} images" for number in numbers))
    print(markdown(headings, [(row, *(c[row] for c in columns)) for row in columns[0]]))
    return 0


def _fill(url: str, before: int, number: int) -> None:
    """Add rows until there are `number` images."""
    for first in range(before + 1, number + 1, _BATCH):
        span = {"first": first, "last": min(first + _BATCH - 1, number)}
        with connection(url) as db:
            db.execute(text(_IMAGES), span)
            db.execute(text(_VARIANTS), span)
        print(f"{span['last']:,} images", file=sys.stderr, flush=True)
    with connection(url) as db:
        db.execute(text("VACUUM ANALYZE images, variants"))


def _measure(settings: Settings, number: int) -> dict[str, str]:
    """Return each row of the table at this number of images."""
    engine = build_engine(settings)
    session = build_sessions(engine)()
    picks = RandomImages()
    middle = images.find_image(session, f"img-{number // 2:08}")
    if middle is None:
        raise RuntimeError("The rows were not generated.")
    by_name, by_time = (middle.name, middle.id), (middle.last_updated_at, middle.id)
    calls: dict[str, Callable[[], Any]] = {
        "metadata": lambda: images.find_image(session, middle.name),
        "random": lambda: picks.pick(session),
        "list 100, first page": lambda: images.list_images(session, "name", limit=101),
        "list 100 by name, middle": lambda: images.list_images(
            session, "name", after=by_name, limit=101
        ),
        "list 100 by time, middle": lambda: images.list_images(
            session, "-last_updated_at", after=by_time, limit=101
        ),
    }
    measured = {name: f"{_milliseconds(call):.2f} ms" for name, call in calls.items()}
    measured |= _maintenance(settings, session, number)
    engine.dispose()
    return measured


def _milliseconds(call: Callable[[], object]) -> float:
    """Return the median wall-clock time of a call, at the quietest of several times."""
    return 1000 * min(median(_seconds(call) for _ in range(_CALLS)) for _ in range(_TIMES))


def _seconds(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def _maintenance(settings: Settings, session: Session, number: int) -> dict[str, str]:
    """Return what a sweep of an empty journal and a verification cost."""
    sessions, bucket = build_sessions(session.get_bind().engine), _Listing(number)
    sweeper = Sweeper(sessions, bucket, settings)  # type: ignore[arg-type]
    first, later = _seconds(sweeper.sweep), min(_seconds(sweeper.sweep) for _ in range(5))
    verifier = Verifier(sessions, bucket, settings)  # type: ignore[arg-type]
    findings = io.StringIO()
    began, cpu = time.perf_counter(), time.process_time()
    report = verifier.verify(lambda found: print(found, file=findings), lambda *_: None)
    took, cpu = time.perf_counter() - began, time.process_time() - cpu
    if findings.getvalue() or report.images != number:
        raise RuntimeError("The listing does not agree with the rows.")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {
        "first sweep of a process": f"{first:.2f} s",
        "each later one": f"{later:.2f} s",
        "verify": f"{took:.0f} s",
        "verify, CPU of the command": f"{cpu:.0f} s",
        "peak memory of the process": f"{peak:.0f} MB",
    }


if __name__ == "__main__":
    sys.exit(main())
