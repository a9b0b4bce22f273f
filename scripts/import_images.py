"""Import images: `python -m scripts.import_images SOURCE`.

SOURCE is a folder, a .zip, .tar or .tar.gz file, or s3://bucket/prefix. Each file is inspected and
stored like an upload. Images that already have the same bytes are unchanged, so an interrupted
import continues when you start it again.

All names are checked first. Files whose names are invalid, or the same, are refused; the others are
imported. --names sets how files get their names:

  stem        the file name without its extension (default)
  path:-      the whole path without the extension, with - for each slash
  csv:FILE    the columns `source` (a path within SOURCE) and `name` of a CSV file;
              files that are not in it are skipped

An export of scripts.export_images contains its own names and dates.

Exit status: 0 complete, 1 complete except for refused files, 2 not finished.
"""

import argparse
from contextlib import closing
from pathlib import Path

from config import load_settings
from resources import Resources
from runtime.memory import tune_gc, tune_malloc
from scripts.command_line import build_parser, run
from scripts.import_report import writing_report
from scripts.progress import Progress
from scripts.transfer_command import access_of, add_transfer_options, address, finish, jobs_of
from services.transfer.addresses import open_source
from services.transfer.failures import TransferError
from services.transfer.importing import Importer, ImportReport, requests_of
from services.transfer.naming import parse_naming
from services.transfer.planning import Outcome, Plan, Planner, find_manifest, read_entries
from services.transfer.sources import Source

DONE, REFUSED = 0, 1
_OUTCOMES: tuple[Outcome, ...] = ("created", "replaced", "unchanged", "skipped", "refused")


def main(arguments: list[str] | None = None) -> int:
    """Import a source and print which files were refused; return the exit status."""
    options = _parser().parse_args(arguments)
    return finish(lambda: _open_and_import(options))


def _parser() -> argparse.ArgumentParser:
    parser = build_parser("import_images", __doc__)
    add = parser.add_argument
    add("source", type=address, metavar="SOURCE", help="folder, archive or s3://bucket/prefix")
    add("--names", metavar="RULE", help="stem, path:SEPARATOR or csv:FILE (default: stem)")
    add("--replace", action="store_true", help="replace images that have other bytes")
    add("--keep-dates", action="store_true", help="make the dates of the files `created_at`")
    add("--dry-run", action="store_true", help="inspect everything, store nothing")
    add("--report", type=Path, metavar="FILE", help="write a line for each file: .csv or .jsonl")
    add_transfer_options(parser, "files", "source")
    return parser


def _open_and_import(options: argparse.Namespace) -> int:
    settings = load_settings()
    with (
        Resources.open(settings) as resources,
        open_source(options.source, settings, access_of(options)) as source,
    ):
        return _import(source, resources, options)


def _import(source: Source, resources: Resources, options: argparse.Namespace) -> int:
    settings, plan = resources.settings, _plan(source, resources, options)
    importer = Importer(
        lambda: resources.store(resources.sessions()),
        settings,
        replaces=options.replace,
        dry_run=options.dry_run,
        jobs=jobs_of(options, settings),
    )
    report, total = ImportReport(), len(plan.images) + len(plan.others)
    with (
        writing_report(options.report) as add,
        closing(importer.run(source, plan)) as results,
        Progress(lines=True) as progress,
    ):
        for done, result in enumerate(results, 1):
            add(result)
            report.count(result)
            if result.outcome == "refused":
                progress.clear()
                print(f"refused {result.source!r}: {result.reason}", flush=True)
            progress.show("files", done, total)
    print(_summary(report, dry_run=options.dry_run))
    if options.dry_run:
        ours = requests_of(report, keeps_replaced=settings.keep_deleted_seconds > 0)
        theirs = source.requests(len(plan.images))
        print(f"requests to S3: {ours}" + (f"; to the source: {theirs}" if theirs else ""))
    return REFUSED if report.outcomes["refused"] else DONE


def _plan(source: Source, resources: Resources, options: argparse.Namespace) -> Plan:
    """Check all names. Raises TransferError."""
    planner = Planner(resources.settings, resources.inspector, options.keep_dates)
    naming = parse_naming(options.names or "stem")
    files = list(source.files())
    manifest = find_manifest(files)
    if manifest is None:
        return planner.plan(files, naming)
    if options.names:
        raise TransferError("SOURCE is an export, whose manifest has the names: omit --names.")
    return planner.plan_export(files, manifest.path, read_entries(source, manifest))


def _summary(report: ImportReport, *, dry_run: bool) -> str:
    counted = ", ".join(
        f"{report.outcomes[outcome]:,} {outcome}"
        for outcome in _OUTCOMES
        if report.outcomes[outcome]
    )
    files = f"{report.outcomes.total():,} files: {counted or 'nothing to import'}"
    stored = f"{report.stored_bytes:,} bytes {'to store' if dry_run else 'stored'}"
    return f"{'Would be: ' if dry_run else ''}{files}; {stored}"


if __name__ == "__main__":
    tune_malloc()
    tune_gc()
    run(main)
