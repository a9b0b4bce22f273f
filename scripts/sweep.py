"""Sweep the journal: `python -m scripts.sweep [--once | --interval SECONDS]`.

Deletes the objects of unfinished uploads and of overwritten and deleted images. Any number of
sweepers may run at any time, on any host. Exit status 0 if nothing failed.
"""

import sys
import time
from contextlib import suppress
from dataclasses import asdict

from config import load_settings
from errors import ConfigurationError, TransactionAbortedError, UnavailableError
from resources import Resources
from scripts.command_line import build_parser, explain, failed, run, seconds
from services.maintenance.sweeper import Sweeper


def main(arguments: list[str] | None = None) -> int:
    """Sweep once or repeatedly, and print a line for each sweep; return the exit status."""
    parser = build_parser("sweep", __doc__)
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--once", action="store_true", help="sweep once (the default)")
    mode.add_argument("--interval", type=seconds, help="seconds between two sweeps")
    options = parser.parse_args(arguments)
    try:
        with Resources.open(load_settings()) as resources:
            sweeper = resources.sweeper()
            status = _sweep(sweeper)
            with suppress(KeyboardInterrupt):
                while options.interval is not None:
                    time.sleep(options.interval)
                    status = _sweep(sweeper)
            return status
    except ConfigurationError as exc:
        return failed(exc)


def _sweep(sweeper: Sweeper) -> int:
    try:
        report = sweeper.sweep()
    except (UnavailableError, TransactionAbortedError) as exc:
        print(explain(exc), file=sys.stderr)
        return 1
    print(", ".join(f"{count} {what}" for what, count in asdict(report).items()), flush=True)
    return 1 if report.failed else 0


if __name__ == "__main__":
    run(main)
