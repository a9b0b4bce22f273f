"""Compare bucket and tables: `python -m scripts.verify [--deep] [--repair] [--json]`.

Reports images whose object is lost, objects that no row names (orphans), and objects that do not
have the size in their row. With --deep it also reads every object and compares its SHA-256. The
bucket must belong to the service alone: any other object in it counts as an orphan.

Without --repair it changes nothing. With --repair it journals orphans and damaged variants. The
sweeper deletes orphans after PUT_HORIZON_SECONDS; docs/backup-and-restore.md shows how to save them
before. The service makes variants again. Lost and altered images you must upload again, or delete.

With --json it prints JSON Lines, one object per finding: {"damage", "key", "name", "row":
{"size_bytes", "sha256"}, "object": {"size_bytes", "sha256"}, "journaled"}. Missing values are null,
such as the name of a variant. The last line is {"summary": {...}} or {"error": "..."}.

Exit status: 0 clean or all journaled, 1 damage, 2 not checked.
"""

import argparse
import json
from typing import Any

from config import load_settings
from errors import ServiceError, TransactionAbortedError
from resources import Resources
from scripts.command_line import build_parser, explain, failed, run
from scripts.progress import Progress
from services.maintenance.verification import Damage, Finding, VerifyReport

CLEAN, DAMAGED, UNCHECKED = 0, 1, 2


def main(arguments: list[str] | None = None) -> int:
    """Verify once and print the findings; return the exit status."""
    parser = build_parser("verify", __doc__)
    add = parser.add_argument
    add("--deep", action="store_true", help="read and hash every object")
    add("--repair", action="store_true", help="journal orphans and damaged variants")
    add("--json", action="store_true", help="print JSON Lines")
    options = parser.parse_args(arguments)
    try:
        report = _verify(options)
    except BrokenPipeError:  # the reader of the output has ended
        raise
    except (ServiceError, TransactionAbortedError, OSError) as exc:
        if not options.json:
            return failed(exc, UNCHECKED)
        print(json.dumps({"error": explain(exc)}))
        return UNCHECKED
    print(json.dumps({"summary": _summary(report)}) if options.json else _sentence(report))
    return _exit_status(report)


def _verify(options: argparse.Namespace) -> VerifyReport:
    def show(finding: Finding) -> None:
        progress.clear()
        print(json.dumps(_document(finding)) if options.json else _line(finding), flush=True)

    with Resources.open(load_settings()) as resources, Progress(lines=False) as progress:
        verifier = resources.verifier(deep=options.deep, repairs=options.repair)
        return verifier.verify(show, progress.show)


def _exit_status(report: VerifyReport) -> int:
    if report.clean:
        return CLEAN
    remaining = report.found.total() - report.journaled
    return UNCHECKED if remaining == report.found[Damage.UNREADABLE] else DAMAGED


# --- for people -----------------------------------------------------------------------------------


def _line(finding: Finding) -> str:
    """Describe a finding. Keys that the service did not generate may contain control characters."""
    owner = ""
    if finding.row:
        owner = f" of image {finding.row.name!r}" if finding.row.is_image else " of a variant"
    journaled = ": journaled" if finding.journaled else ""
    return f"{finding.damage:<10} {finding.key!r}{owner}{_difference(finding)}{journaled}"


def _difference(finding: Finding) -> str:
    if finding.row is None or finding.stored is None:
        return ""
    if finding.damage is Damage.WRONG_SIZE:
        return f": {finding.stored.size_bytes} bytes instead of {finding.row.size_bytes}"
    if finding.damage is Damage.ALTERED:
        return f": SHA-256 {finding.stored.sha256} instead of {finding.row.sha256}"
    return ""


def _sentence(report: VerifyReport) -> str:
    seen = f"{report.objects} objects, {report.images} images, {report.entries} journal entries"
    seen += f", {report.variants} variants" if report.variants else ""
    found = ", ".join(f"{count} {damage}" for damage, count in sorted(report.found.items()))
    journaled = f" ({report.journaled} journaled)" if report.journaled else ""
    return f"{seen}: {found or 'clean'}{journaled}"


# --- for machines ---------------------------------------------------------------------------------


def _document(finding: Finding) -> dict[str, Any]:
    row, stored = finding.row, finding.stored
    return {
        "damage": finding.damage,
        "key": finding.key,
        "name": row and row.name,
        "row": row and {"size_bytes": row.size_bytes, "sha256": row.sha256},
        "object": stored and {"size_bytes": stored.size_bytes, "sha256": stored.sha256},
        "journaled": finding.journaled,
    }


def _summary(report: VerifyReport) -> dict[str, Any]:
    return {
        "clean": report.clean,
        "objects": report.objects,
        "images": report.images,
        "variants": report.variants,
        "journal_entries": report.entries,
        "found": {damage: report.found[damage] for damage in Damage},
        "journaled": report.journaled,
    }


if __name__ == "__main__":
    run(main)
