"""Every operation under every fault: what is answered, and what is left. The table of a test.

    python -m tests.tools.fault_cells > docs/faults.md

`ROWS` has a line for each fault and in it a cell for each operation, in the order of `OPERATIONS`:
`answer image journal`, or `- reason` where the fault cannot strike. `answer` is a word of
`ANSWERS`, `image` which version the name has afterwards, `journal` the states of the journal's
entries. test_fault_matrix.py makes a test of each cell.
"""

# ruff: noqa: T201 - run as a command it prints the page

from collections.abc import Iterator
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
"""What a client, or the sweeper, does when the fault strikes."""


class Answer(NamedTuple):
    """What an operation comes to: status and `code` of the problem, or how a sweep ends."""

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
    # Sweeps answer nobody. No status:
    "swept": Answer(0, "complete"),
    "failed": Answer(0, "complete, with failures counted"),
    "interrupted": Answer(0, "stopped; the next one goes on"),
}

# All that is common to faults of one kind.
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
_NO_LOCK = "- a plain SELECT conflicts with nothing"
_NO_PUT = "- sends no PUT"
_LATE = ["s3 none U", "s3 old U", *[_NO_PUT] * 5]
_RETRIED = ["created new", "replaced new", _NO_LOCK, "deleted none", _NO_LOCK, _NO_LOCK]


def _commit(first: str, overwrite: str, delete: str, sweep: str) -> list[str]:
    return [first, overwrite, _NO_COMMIT, delete, _NO_COMMIT, _NO_COMMIT, sweep]


class Row(NamedTuple):
    """One fault, in words, and what it does to each operation."""

    words: str
    cells: list[str]


ROWS = {
    "db_down": Row("Database down: nothing answers", _DB_GONE),
    "db_refused": Row("Database refuses connections", _DB_GONE),
    "db_slow": Row("Database slow, within the time-outs", _FINE),
    "db_commit_done": Row(
        "Connection lost in the deciding COMMIT, which is done",
        _commit("db new", "db new D", "db none D", "interrupted old DD"),
    ),
    "db_commit_not_done": Row(
        "Connection lost in the deciding COMMIT, which is not done",
        _commit("db none", "db old", "db old", "interrupted old DU"),
    ),
    "db_other_commit_done": Row(
        "Connection lost in the journal's own COMMIT (upload: entry made; delete, sweep: entry "
        "removed), which is done",
        _commit("db none U", "db old U", "deleted none", "interrupted old D"),
    ),
    "db_other_commit_not_done": Row(
        "Connection lost in the journal's own COMMIT, which is not done",
        _commit("db none", "db old", "deleted none D", "interrupted old DD"),
    ),
    "db_lost_after_put": Row(
        "Database lost between the PUT and the row, for a while",
        ["db none D", "db old D", *["- has no PUT with a row to follow"] * 5],
    ),
    "db_deadlock": Row("Deadlock, once", [*_RETRIED, "failed old U"]),
    "db_serialisation": Row("Serialisation failure, once", [*_RETRIED, "failed old U"]),
    "db_deadlocks": Row(
        "Deadlock, each time",
        [
            *("conflict none", "conflict old", _NO_LOCK, "conflict old", _NO_LOCK, _NO_LOCK),
            "failed old U",
        ],
    ),
    "db_pool": Row("Pool exhausted", _DB_GONE),
    "s3_down": Row("S3 down: nothing answers", _S3_GONE),
    "s3_refused": Row("S3 refuses connections", _S3_GONE),
    "s3_slow": Row("S3 slow, within the time-outs", _FINE),
    "s3_500": Row("S3 answers 500 InternalError", _S3_GONE),
    "s3_500_once": Row(
        "S3 answers 500 InternalError, once (a PUT is attempted once, all else again)",
        ["s3 none U", "s3 old U", *_FINE[2:]],
    ),
    "s3_slowdown": Row("S3 answers 503 SlowDown", _S3_GONE),
    "s3_denied": Row("S3 answers 403 AccessDenied", _S3_GONE),
    "s3_expired": Row("S3 answers 400 ExpiredToken: credentials expired", _S3_GONE),
    "put_late": Row("PUT timed out, and lands later", _LATE),
    "put_lost": Row("PUT landed, its answer lost", _LATE),
    "s3_missing": Row(
        "Object missing, against all promises",
        [
            *("- no object is expected yet", "replaced new", "replaced old", "deleted none"),
            *("lost old", "page old", "swept old D"),
        ],
    ),
    "s3_cut": Row(
        "Body cut short",
        [
            *["- S3's answer has no body"] * 4,
            "s3 old",
            "- asks S3 for nothing",
            "- S3's answer has no body",
        ],
    ),
}


class Cell(NamedTuple):
    """One operation under one fault; where it cannot strike, `reason` says why."""

    operation: str
    fault: str
    answer: str = ""
    image: str = ""
    journal: str = ""
    reason: str = ""


def cells() -> Iterator[Cell]:
    """Give all cells, row by row."""
    for fault, row in ROWS.items():
        for operation, cell in zip(OPERATIONS, row.cells, strict=True):
            if cell.startswith("- "):
                yield Cell(operation, fault, reason=cell[2:])
            else:
                answer, image, journal = (*cell.split(), "")[:3]
                yield Cell(operation, fault, answer, image, journal)


_HEAD = """# What each fault does

Generated: `python -m tests.tools.fault_cells > docs/faults.md`. Each cell that is not *n/a* is a
test (`tests/faults/test_fault_matrix.py`) on PostgreSQL, and on MariaDB (two thirds of these only
in `make soak`), with SeaweedFS, behind a proxy that fails on purpose.

A cell says what the client gets (status and `code`, or `Upload-Result`), then which version the
name has *afterwards* (none, old or new), then what is left in the journal: U, an upload to be
given up; D, an object to be deleted. A sweep has no client; its cell says how it ends. When it
begins, the journal has one upload to give up (U) and one object to delete (D). Whatever the cell:
the service recovers by itself when the fault is over, and sweeps, once the times of the settings
have passed, leave bucket and rows equal and the journal empty.

A write that is answered 503 may be repeated. Where the connection was lost in the
deciding COMMIT the write may have taken effect. Then sending the same bytes again is answered
`unchanged` (`services/image_store.py`), deleting again with 404, and a condition that held the
first time may fail with 412.
"""


def page() -> str:
    """Render the table."""
    by_fault: dict[str, list[str]] = {}
    for cell in cells():
        by_fault.setdefault(cell.fault, []).append(_rendered(cell))
    head = f"| | {' | '.join(OPERATIONS.values())} |\n|---|{'---|' * len(OPERATIONS)}"
    lines = [f"| {ROWS[fault].words} | {' | '.join(row)} |" for fault, row in by_fault.items()]
    every = list(cells())
    count = sum(not cell.reason for cell in every)
    counts = f"{count} cells; {len(every) - count} more do not apply, and say why."
    return "\n".join([_HEAD, head, *lines, "", counts])


def _rendered(cell: Cell) -> str:
    if cell.reason:
        return f"*n/a: {cell.reason}*"
    status, detail = ANSWERS[cell.answer]
    answer = f"{status} {detail}".strip() if status else detail
    left = ", ".join([cell.image, *([f"journal {cell.journal}"] if cell.journal else [])])
    return f"**{answer}**; {left}"


if __name__ == "__main__":
    print(page())
