"""Export all images: `python -m scripts.export_images TARGET`.

TARGET is a folder or s3://bucket/prefix. It gets a file for each image, and a manifest with the
names and all metadata, image-api-manifest.jsonl. The export shows the images of one moment, also
while others are uploaded and deleted. The manifest gets its name last: an export without it is not
finished. Start an interrupted one again and it continues. scripts.import_images reads exports.

Exit status: 0 done, 1 done except for lost, altered or unreadable images, 2 not finished.
"""

import argparse
import sys
from collections import Counter

from config import load_settings
from errors import ServiceError, UnavailableError
from resources import Resources
from scripts.command_line import build_parser, explain, run
from scripts.progress import following
from services.transfer.addresses import open_target
from services.transfer.buckets import Access
from services.transfer.exporting import Exporter
from services.transfer.failures import TransferError

DONE, DAMAGED, UNFINISHED = 0, 1, 2
_JOBS = 8


def main(arguments: list[str] | None = None) -> int:
    """Export once and print which images are damaged; return the exit status."""
    options = _parser().parse_args(arguments)
    try:
        settings = load_settings()
        access = Access(options.target_endpoint, options.target_region, options.profile)
        with (
            Resources.open(settings) as resources,
            open_target(options.target, settings, access) as target,
        ):
            jobs = max(1, min(options.jobs, settings.threads))
            return _export(Exporter(resources.sessions, resources.bucket, target, jobs))
    except BrokenPipeError:  # nobody reads the results any more
        raise
    except (ServiceError, TransferError, OSError) as exc:
        again = "; run it again" if isinstance(exc, UnavailableError) else ""
        print(f"{explain(exc)}{again}", file=sys.stderr)
        return UNFINISHED


def _parser() -> argparse.ArgumentParser:
    parser = build_parser("export_images", __doc__)
    add = parser.add_argument
    add("target", metavar="TARGET", help="folder or s3://bucket/prefix")
    add("--jobs", type=int, default=_JOBS, metavar="N", help=f"images at once (default: {_JOBS})")
    add("--target-endpoint", metavar="URL", help="endpoint of the store of TARGET")
    add("--target-region", metavar="REGION", help="region of the bucket of TARGET")
    add("--profile", help="profile of the shared AWS files with the credentials for TARGET")
    return parser


def _export(exporter: Exporter) -> int:
    outcomes, damaged = Counter[str](), False
    with exporter.run() as (total, results), following("images", total) as progress:
        for result in results:
            outcomes[result.outcome] += 1
            if result.is_damaged:
                damaged = True
                progress.clear()
                print(f"{result.outcome} {result.image.name!r}", flush=True)
            progress.advance()
    counted = ", ".join(f"{number:,} {outcome}" for outcome, number in sorted(outcomes.items()))
    print(f"{outcomes.total():,} images: {counted or 'nothing to export'}")
    return DAMAGED if damaged else DONE


if __name__ == "__main__":
    run(main)
