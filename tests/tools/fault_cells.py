"""The expected result of every operation under every fault.

    python -m tests.tools.fault_cells > docs/faults.md

`ROWS` has a row for each fault with a cell for each operation, in the order of `OPERATIONS`:
`answer image journal`, or `- reason` if the fault cannot occur. `answer` is a key of `ANSWERS`,
`image` the version of the image afterwards, and `journal` the states of the journal's entries.
Each cell is a parameter of tests/faults/test_fault_matrix.py.
"""

# ruff: noqa: T201 - the command prints the page

from collections.abc import Iterator, Sequence
from typing import NamedTuple

OPERATIONS = {
    "first": "first upload",
    "overwrite": "overwrite",
    "identical": "identical re-upload",
    "delete": "delete",
    "read": "read",
    "list": "list",
    "sweep": "sweep",
}
"""What a client or the sweeper does when the fault occurs."""


class Answer(NamedTuple):
    """The status and `code` of a response, or how a sweep ends."""

    status: int
    detail: str = ""


ANSWERS = {
    "created": Answer(201, "created"),
    "replaced": Answer(200, "replaced"),
    "unchanged": Answer(200, "unchanged"),
    "deleted": Answer(200),
    "bytes": Answer(200),
    "page": Answer(200),
    "db": Answer(503, "database_unavailable"),
    "s3": Answer(503, "storage_unavailable"),
    "conflict": Answer(409, "write_conflict"),
    "lost": Answer(500, "image_lost"),
    # Sweeps have no status:
    "swept": Answer(0, "complete"),
    "failed": Answer(0, "complete, with failures counted"),
    "interrupted": Answer(0, "stopped; the next sweep continues"),
}

# Cells that several faults share.
_DB_GONE = [*("db none", "db old", "db old", "db old", "db old", "db old", "interrupted old DU")]
_FINE = [
    *("created new", "replaced new", "unchanged old", "deleted none", "bytes old", "page old"),
    "swept old D",
]
_S3_GONE = [
    *("s3 none U", "s3 old U", "s3 old", "deleted none D", "s3 old", "page old"),
    "failed old DD",
]
_NO_COMMIT = "- commits nothing"
_NO_LOCK = "- runs only plain SELECTs, which conflict with nothing"
_NO_PUT = "- sends no PUT"
_LATE = ["s3 none U", "s3 old U", *[_NO_PUT] * 5]
_RETRIED = ["created new", "replaced new", _NO_LOCK, "deleted none", _NO_LOCK, _NO_LOCK]


def _commit(first: str, overwrite: str, delete: str, sweep: str) -> list[str]:
    return [first, overwrite, _NO_COMMIT, delete, _NO_COMMIT, _NO_COMMIT, sweep]


class Row(NamedTuple):
    """One fault, described in words, and its effect on each operation."""

    words: str
    cells: list[str]


ROWS = {
    "db_down": Row("Database down: no response", _DB_GONE),
    "db_refused": Row("Database refuses connections", _DB_GONE),
    "db_slow": Row("Database slow, within the timeouts", _FINE),
    "db_commit_done": Row(
        "Connection lost in the deciding COMMIT, which succeeds",
        _commit("db new", "db new D", "db none D", "interrupted old DD"),
    ),
    "db_commit_not_done": Row(
        "Connection lost in the deciding COMMIT, which fails",
        _commit("db none", "db old", "db old", "interrupted old DU"),
    ),
    "db_other_commit_done": Row(
        "Connection lost in the COMMIT of the journal alone (upload: add the entry; delete, sweep: "
        "remove it), which succeeds",
        _commit("db none U", "db old U", "deleted none", "interrupted old D"),
    ),
    "db_other_commit_not_done": Row(
        "Connection lost in the COMMIT of the journal alone, which fails",
        _commit("db none", "db old", "deleted none D", "interrupted old DD"),
    ),
    "db_lost_after_put": Row(
        "Database lost for a while between the PUT and the row",
        ["db none D", "db old D", *["- sends no PUT that a row follows"] * 5],
    ),
    "db_deadlock": Row("Deadlock, once", [*_RETRIED, "failed old U"]),
    "db_serialisation": Row("Serialization failure, once", [*_RETRIED, "failed old U"]),
    "db_deadlocks": Row(
        "Deadlock, every time",
        [
            *("conflict none", "conflict old", _NO_LOCK, "conflict old", _NO_LOCK, _NO_LOCK),
            "failed old U",
        ],
    ),
    "db_pool": Row("Pool exhausted", _DB_GONE),
    "s3_down": Row("S3 down: no response", _S3_GONE),
    "s3_refused": Row("S3 refuses connections", _S3_GONE),
    "s3_slow": Row("S3 slow, within the timeouts", _FINE),
    "s3_500": Row("S3 answers 500 InternalError", _S3_GONE),
    "s3_500_once": Row(
        "S3 answers 500 InternalError, once (a PUT is not retried, other requests are)",
        ["s3 none U", "s3 old U", *_FINE[2:]],
    ),
    "s3_slowdown": Row("S3 answers 503 SlowDown", _S3_GONE),
    "s3_denied": Row("S3 answers 403 AccessDenied", _S3_GONE),
    "s3_expired": Row("S3 answers 400 ExpiredToken: credentials expired", _S3_GONE),
    "put_late": Row("PUT times out and lands later", _LATE),
    "put_lost": Row("PUT lands, its response is lost", _LATE),
    "s3_missing": Row(
        "Object missing, although the protocol rules it out",
        [
            *("- finds no object yet", "replaced new", "replaced old", "deleted none"),
            *("lost old", "page old", "swept old D"),
        ],
    ),
    "s3_cut": Row(
        "Body cut short",
        [
            *["- gets no body from S3"] * 4,
            "s3 old",
            "- sends no request to S3",
            "- gets no body from S3",
        ],
    ),
}


class Cell(NamedTuple):
    """One operation under one fault; `reason` says why the fault cannot occur."""

    operation: str
    fault: str
    answer: str = ""
    image: str = ""
    journal: str = ""
    reason: str = ""


def cells() -> Iterator[Cell]:
    """Yield all cells, row by row."""
    for fault, row in ROWS.items():
        for operation, cell in zip(OPERATIONS, row.cells, strict=True):
            if cell.startswith("- "):
                yield Cell(operation, fault, reason=cell[2:])
            else:
                answer, image, journal = (*cell.split(), "")[:3]
                yield Cell(operation, fault, answer, image, journal)


_HEAD = """# Faults

This page lists what a client receives, and what remains in the database, for each operation under
each fault of the database or of S3. `python -m tests.tools.fault_cells > docs/faults.md` generates
it. Each cell that is not *n/a* is a test (`tests/faults/test_fault_matrix.py`) on PostgreSQL and
MariaDB, with SeaweedFS, behind a proxy that injects the fault. Uploads use POST, and on PostgreSQL
also PUT. Two thirds of the cells on MariaDB and with PUT run only in `make soak`.

Each cell contains:

1. the response (status and `code`, or `Upload-Result`);
2. the version of the image afterwards: none, old or new;
3. the remaining journal entries: U is an upload to give up, D is an object to delete.

A sweep has no client, so its cells show how it ends. When it starts, the journal has one upload to
give up (U) and one object to delete (D).

When the fault is over, the service recovers by itself; only missing objects must be uploaded again.
After `UPLOAD_GRACE_SECONDS`, `PUT_HORIZON_SECONDS` and `KEEP_DELETED_SECONDS`, sweeps have emptied
the journal, and the bucket and the rows agree.

A client may repeat a write that got 503. If the connection was lost in the deciding COMMIT, the
write may have taken effect. Then the same bytes get `unchanged`, a second delete gets 404, and a
condition that was met the first time may get 412.
"""


def page() -> str:
    """Render the page."""
    every = list(cells())
    reasons = list(dict.fromkeys(cell.reason for cell in every if cell.reason))
    by_fault: dict[str, list[str]] = {}
    for cell in every:
        by_fault.setdefault(cell.fault, []).append(_rendered(cell, reasons))
    head = f"| | {' | '.join(OPERATIONS.values())} |\n|---|{'---|' * len(OPERATIONS)}"
    lines = [f"| {ROWS[fault].words} | {' | '.join(row)} |" for fault, row in by_fault.items()]
    tested = sum(not cell.reason for cell in every)
    counts = f"{tested} cells are tested; {len(every) - tested} do not apply: the operation\n"
    notes = [f"{number}. {reason}" for number, reason in enumerate(reasons, 1)]
    return "\n".join([_HEAD, head, *lines, "", counts, *notes])


def _rendered(cell: Cell, reasons: Sequence[str]) -> str:
    if cell.reason:
        return f"*n/a ({reasons.index(cell.reason) + 1})*"
    status, detail = ANSWERS[cell.answer]
    answer = f"{status} {detail}".strip() if status else detail
    left = ", ".join([cell.image, *([f"journal {cell.journal}"] if cell.journal else [])])
    return f"**{answer}**; {left}"


if __name__ == "__main__":
    print(page())
