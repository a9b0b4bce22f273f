"""Sweep the journal: `python -m scripts.sweep [--once | --interval SECONDS]`.

Deletes the objects of crashed uploads, overwritten and deleted images. Safe to run anywhere, at
any time, in any number. Exit status 0 when nothing failed.
"""

import argparse
import sys
import threading
from dataclasses import asdict

from config import load_settings
from db import build_engine, build_sessions
from errors import ConfigurationError, UnavailableError
from s3_client import Bucket
from services.sweeper import Sweeper, SweepReport


def main(arguments: list[str] | None = None) -> int:
    """Sweep once, or for ever; print what was done."""
    parser = argparse.ArgumentParser(prog="python -m scripts.sweep", description=__doc__)
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--once", action="store_true", help="sweep once (the default)")
    mode.add_argument("--interval", type=float, help="sweep every so many seconds")
    options = parser.parse_args(arguments)
    try:
        settings = load_settings()
        sessions = build_sessions(build_engine(settings))
        sweeper = Sweeper(sessions, Bucket(settings), settings)
    except ConfigurationError as exc:
        print(exc, file=sys.stderr)
        return 1
    status = _sweep(sweeper)
    pause = threading.Event()
    try:
        while options.interval is not None:
            pause.wait(options.interval)
            status = _sweep(sweeper)
    except KeyboardInterrupt:
        pass
    return status


def _sweep(sweeper: Sweeper) -> int:
    try:
        report = sweeper.sweep(_show_progress if sys.stderr.isatty() else None)
    except UnavailableError as exc:
        print(f"{exc.detail}: {exc.__cause__}", file=sys.stderr)
        return 1
    print(", ".join(f"{count} {what}" for what, count in asdict(report).items()), flush=True)
    return 1 if report.failed else 0


def _show_progress(report: SweepReport) -> None:
    print(f"\r{report.seen} entries ...", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
