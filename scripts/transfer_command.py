"""What import_images and export_images have in common: the other store, jobs and failures."""

import argparse
import sys
from collections.abc import Callable
from typing import Literal

from config import Settings
from errors import ServiceError, UnavailableError
from scripts.command_line import explain
from services.transfer.buckets import Access
from services.transfer.failures import TransferError

UNFINISHED = 2
_JOBS = 8

_End = Literal["source", "target"]


def add_transfer_options(parser: argparse.ArgumentParser, what: str, end: _End) -> None:
    """Add how to reach the store at the other `end`, and how many of `what` to copy at once."""
    add, name = parser.add_argument, end.upper()
    add("--jobs", type=int, default=_JOBS, metavar="N", help=f"{what} at once (default: {_JOBS})")
    add(f"--{end}-endpoint", metavar="URL", help=f"endpoint of the store of {name}")
    add(f"--{end}-region", metavar="REGION", help=f"region of the bucket of {name}")
    add("--profile", help=f"profile of the shared AWS files with the credentials for {name}")


def access_of(options: argparse.Namespace, end: _End) -> Access:
    """Return how to reach the store at the other `end`."""
    endpoint, region = (getattr(options, f"{end}_{part}") for part in ("endpoint", "region"))
    return Access(endpoint, region, options.profile)


def jobs_of(options: argparse.Namespace, settings: Settings) -> int:
    """Return how many files to copy at once: at most one for each database connection."""
    asked: int = options.jobs
    return max(1, min(asked, settings.threads))


def finish(transfer: Callable[[], int]) -> int:
    """Return the exit status of a transfer; print why, if it cannot be finished."""
    try:
        return transfer()
    except BrokenPipeError:  # nobody reads the results any more
        raise
    except (ServiceError, TransferError, OSError) as exc:
        again = "; run it again" if isinstance(exc, UnavailableError) else ""
        print(f"{explain(exc)}{again}", file=sys.stderr)
        return UNFINISHED
