"""Export all images: `python -m scripts.export_images TARGET`.

TARGET is a folder or s3://bucket/prefix. The export consists of a file for each image and of
image-api-manifest.jsonl, a manifest with the names and all metadata. It contains the images of one
moment, even if others are uploaded or deleted meanwhile. The manifest is written last: an export
without one is not finished. To continue an interrupted export, start it again.
scripts.import_images reads exports.

Exit status: 0 complete, 1 complete except for lost, altered or unreadable images, 2 not finished.
"""

import argparse
from collections import Counter

from config import load_settings
from resources import Resources
from scripts.command_line import build_parser, run
from scripts.progress import Progress
from scripts.transfer_command import access_of, add_transfer_options, address, finish, jobs_of
from services.transfer.addresses import open_target
from services.transfer.exporting import Exporter

DONE, DAMAGED = 0, 1


def main(arguments: list[str] | None = None) -> int:
    """Export all images and print which are damaged; return the exit status."""
    options = _parser().parse_args(arguments)
    return finish(lambda: _export(options))


def _parser() -> argparse.ArgumentParser:
    parser = build_parser("export_images", __doc__)
    parser.add_argument(
        "target", type=address, metavar="TARGET", help="folder or s3://bucket/prefix"
    )
    add_transfer_options(parser, "images", "target")
    return parser


def _export(options: argparse.Namespace) -> int:
    settings = load_settings()
    with (
        Resources.open(settings) as resources,
        open_target(options.target, settings, access_of(options)) as target,
    ):
        jobs = jobs_of(options, settings)
        return _print_results(Exporter(resources.sessions, resources.bucket, target, jobs))


def _print_results(exporter: Exporter) -> int:
    outcomes, damaged = Counter[str](), False
    with exporter.run() as (total, results), Progress(lines=True) as progress:
        for done, result in enumerate(results, 1):
            outcomes[result.outcome] += 1
            if result.is_damaged:
                damaged = True
                progress.clear()
                print(f"{result.outcome} {result.image.name!r}", flush=True)
            progress.show("images", done, total)
    counted = ", ".join(f"{number:,} {outcome}" for outcome, number in sorted(outcomes.items()))
    print(f"{outcomes.total():,} images: {counted or 'nothing to export'}")
    return DAMAGED if damaged else DONE


if __name__ == "__main__":
    run(main)
