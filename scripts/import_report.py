"""The report of an import: a line for each file, in CSV or JSON Lines."""

import csv
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from services.transfer.planning import FileResult

_COLUMNS = ("source", "name", "result", "reason")


@contextmanager
def writing_report(path: Path | None) -> Iterator[Callable[[FileResult], None]]:
    """Yield a function that adds a file to the report at `path`, or does nothing without one."""
    if path is None:
        yield lambda _: None
        return
    as_csv = path.suffix.lower() == ".csv"
    with path.open("w", encoding="utf-8", newline="", buffering=1) as file:
        rows = csv.writer(file)
        if as_csv:
            rows.writerow(_COLUMNS)

        def add(result: FileResult) -> None:
            values = (result.source, result.name, result.outcome, result.reason)
            if as_csv:
                rows.writerow(values)
            else:
                document = dict(zip(_COLUMNS, values, strict=True))
                file.write(json.dumps(document, ensure_ascii=False) + "\n")

        yield add
