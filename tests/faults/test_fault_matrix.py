"""The fault matrix: every operation under every fault, on real servers behind fault proxies."""

import functools
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text

from config import Settings
from devstack.service_process import ROOT
from devstack.waiting import wait_until
from errors import DatabaseUnavailableError
from services.maintenance.sweeper import Sweeper
from tests.support.fault_rig import AT_ONCE, NEW, OLD, InjectedRollback, Rig, arm, build_rig
from tests.tools import fault_cells
from tests.tools.fault_cells import ANSWERS, OPERATIONS, Cell

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

HASTY = {
    "connect_timeout_seconds": 0.6,
    "db_statement_timeout_seconds": 0.6,
    "s3_put_timeout_seconds": 0.6,
    "s3_read_timeout_seconds": 0.6,
}
LIMITS: dict[str, dict[str, float]] = {
    "db_down": HASTY,
    "db_pool": HASTY,
    "s3_down": HASTY,
    "put_late": {"s3_put_timeout_seconds": 1},
    "s3_500_once": {"s3_max_attempts": 2},
}
UPLOADS = frozenset({"first", "overwrite", "identical"})
Builder = Callable[[Settings, dict[str, float]], Rig]


@pytest.fixture(scope="module")
def builder(s3: "S3Client") -> Iterator[Builder]:
    """Return a function that builds a rig, once for equal settings."""
    with ExitStack() as stack:

        @functools.cache
        def build(settings: Settings, limits: tuple[tuple[str, float], ...]) -> Rig:
            return build_rig(stack, settings, dict(limits), s3)

        yield lambda settings, limits: build(settings, tuple(limits.items()))


@pytest.fixture
def limits() -> dict[str, float]:
    """Return the changed settings; tests override them by parametrization."""
    return {}


@pytest.fixture
def rig(settings: Settings, limits: dict[str, float], builder: Builder) -> Iterator[Rig]:
    """Return the application behind two proxies, with new database connections."""
    rig = builder(settings, limits)
    yield rig
    rig.heal()
    rig.resources.engine.dispose()
    rig.direct.dispose()


# The initial state of each operation.


def prepare(rig: Rig, operation: str) -> None:
    """Create the initial state without the proxies, and let the service connect."""
    assert rig.client.get("/images/cell/metadata").status_code == 404
    if operation == "first":
        return
    rig.put(OLD)
    if operation != "sweep":
        return
    for key, state in {"cell-given-up.jpg": "U", "cell-removed.jpg": "D"}.items():
        rig.s3.put_object(Bucket=rig.settings.aws_s3_bucket, Key=key, Body=NEW)
        with rig.direct.begin() as db:
            moment = "2020-01-01 00:00:00" if state == "U" else "2021-01-01 00:00:00"
            db.execute(
                text("INSERT INTO pending_objects VALUES (:key, :state, :moment, NULL)"),
                {"key": key, "state": state, "moment": moment},
            )


# The operations and their results.


def perform(rig: Rig, operation: str, method: str) -> tuple[int, str]:
    """Perform the operation, an upload by `method`; return status and detail as in `ANSWERS`."""
    if operation == "sweep":
        return 0, sweep_once(rig)
    if operation in UPLOADS:
        picture = OLD if operation == "identical" else NEW
        answer = (
            rig.client.put("/images/cell", content=picture)
            if method == "PUT"
            else rig.client.post("/images", files={"file": ("cell.jpg", picture, "image/jpeg")})
        )
    elif operation == "delete":
        answer = rig.client.delete("/images/cell")
    else:
        answer = rig.client.get("/images/cell" if operation == "read" else "/images")
    if answer.is_success:
        if operation == "read":
            assert answer.content == OLD
        return answer.status_code, answer.headers.get("Upload-Result", "")
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.status_code < 503 or answer.headers["Retry-After"]
    return answer.status_code, answer.json()["code"]


def sweep_once(rig: Rig) -> str:
    """Sweep through the proxies; return how it ended."""
    patience = rig.settings.model_copy(update=AT_ONCE)
    try:
        report = Sweeper(rig.resources.sessions, rig.resources.bucket, patience).sweep()
    except DatabaseUnavailableError:
        return ANSWERS["interrupted"].detail
    assert sum(asdict(report).values()) == 2
    return ANSWERS["failed" if report.failed else "swept"].detail


def strike(rig: Rig, cell: Cell, method: str) -> tuple[int, str]:
    """Perform the operation under the fault of the cell, then end the fault."""
    if cell.fault == "db_pool":
        pool_size = rig.resources.settings.threads + 2
        checked_out = [rig.resources.engine.connect() for _ in range(pool_size)]
        try:
            return perform(rig, cell.operation, method)
        finally:
            for connection in checked_out:
                connection.close()
    if cell.fault == "s3_missing":
        return perform_without_object(rig, cell.operation, method)
    rolls_back = any(word in cell.fault for word in ("deadlock", "serialisation"))
    fault = (
        InjectedRollback(rig, cell.operation, cell.fault)
        if rolls_back
        else arm(rig, cell.operation, cell.fault)
    )
    result = perform(rig, cell.operation, method)
    asked = cell.operation != "list" or not cell.fault.startswith("s3")
    assert fault is None or bool(fault.fired) == asked, "the fault did not strike as expected"
    rig.heal()
    return result


def perform_without_object(rig: Rig, operation: str, method: str) -> tuple[int, str]:
    """Delete the object during the operation; restore it if an image still names it."""
    bucket = rig.settings.aws_s3_bucket
    key = rig.keys()[1][0] if operation != "sweep" else "cell-removed.jpg"
    rig.s3.delete_object(Bucket=bucket, Key=key)
    result = perform(rig, operation, method)
    if key in rig.keys()[1]:
        rig.s3.put_object(Bucket=bucket, Key=key, Body=OLD)
    return result


def converge(rig: Rig, cell: Cell) -> None:
    """Let a held PUT land after a sweep within the horizon, then sweep without delays."""
    if cell.fault == "put_late":
        rig.sweep(put_horizon_seconds=3600)
        rig.reconnect_bucket()
        rig.storage.release()
    rig.sweep()


def _parameters() -> Iterator[Any]:
    """Yield all cells for PostgreSQL; a third of them for MariaDB, and of the uploads for PUT.

    `make soak` runs the rest.
    """
    for number, cell in enumerate(cell for cell in fault_cells.cells() if not cell.reason):
        for engine, method in (("postgresql", "POST"), ("mariadb", "POST"), ("postgresql", "PUT")):
            if method == "PUT" and cell.operation not in UPLOADS:
                continue
            rest = (engine, method) != ("postgresql", "POST") and number % 3
            yield pytest.param(
                engine,
                LIMITS.get(cell.fault, {}),
                cell,
                method,
                id=f"{cell.fault}-{cell.operation}-{method}-{engine}",
                marks=[pytest.mark.soak] if rest else [],
            )


@pytest.mark.parametrize(
    ("database_url", "limits", "cell", "method"), list(_parameters()), indirect=["database_url"]
)
def test_cell(rig: Rig, cell: Cell, method: str) -> None:
    """The response and the remaining state are those of the matrix, and the service recovers."""
    prepare(rig, cell.operation)
    answer = ANSWERS[cell.answer]
    assert strike(rig, cell, method) == (answer.status, answer.detail)
    assert (rig.image(), rig.journal()) == (cell.image, cell.journal)
    expected = 404 if cell.image == "none" else 200
    recovered = lambda: rig.client.get("/images/cell").status_code == expected  # noqa: E731
    wait_until(recovered, timeout=10, what="recovery")
    converge(rig, cell)
    stored, named = rig.keys()
    assert stored == named
    assert (rig.image(), rig.journal()) == (cell.image, "")


def test_documented() -> None:
    """docs/faults.md is the generated page, and every row of the matrix is complete."""
    committed = (ROOT / "docs" / "faults.md").read_text()
    assert committed == fault_cells.page() + "\n", (
        "python -m tests.tools.fault_cells > docs/faults.md"
    )
    assert all(len(row.cells) == len(OPERATIONS) for row in fault_cells.ROWS.values())
