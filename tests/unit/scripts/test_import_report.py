"""Reports of imports are CSV or JSON Lines."""

import csv
import json
from pathlib import Path

from scripts.import_report import writing_report
from services.transfer.planning import FileResult

RESULT = FileResult('a "1",\n.png', "Größe", "refused", "Because, so.")


def test_csv(tmp_path: Path) -> None:
    """A CSV report can be read by any reader of CSV."""
    with writing_report(tmp_path / "r.CSV") as add:
        add(RESULT)
    with (tmp_path / "r.CSV").open(newline="") as file:
        assert list(csv.reader(file)) == [
            ["source", "name", "result", "reason"],
            [RESULT.source, "Größe", "refused", "Because, so."],
        ]


def test_json_lines(tmp_path: Path) -> None:
    """Each line is written at once, so that a killed import leaves a report."""
    path = tmp_path / "r.jsonl"
    with writing_report(path) as add:
        add(RESULT)
        assert json.loads(path.read_text()) == {
            "source": RESULT.source,
            "name": "Größe",
            "result": "refused",
            "reason": "Because, so.",
        }


def test_none() -> None:
    """Without a path there is no report."""
    with writing_report(None) as add:
        add(RESULT)
