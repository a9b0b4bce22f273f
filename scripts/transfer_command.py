"""What import_images and export_images share: the options, and the exit status of a failure."""

import argparse
from collections.abc import Callable
from typing import Literal

from config import Settings
from errors import ServiceError, TransactionAbortedError
from scripts.command_line import failed
from services.transfer.buckets import Access
from services.transfer.failures import TransferError

UNFINISHED = 2
_JOBS = 8


def address(text: str) -> str:
    """Refuse an empty address, which would mean the current folder. Raises ArgumentTypeError."""
    if not text:
        raise argparse.ArgumentTypeError("must not be empty")
    return text


def add_transfer_options(
    parser: argparse.ArgumentParser, what: str, end: Literal["source", "target"]
) -> None:
    """Add `--jobs`, for the number of `what` at once, and the options of the store at `end`."""
    add, name = parser.add_argument, end.upper()
    add("--jobs", type=int, default=_JOBS, metavar="N", help=f"{what} at once (default: {_JOBS})")
    add(f"--{end}-endpoint", dest="endpoint", metavar="URL", help=f"endpoint of {name}'s store")
    add(f"--{end}-region", dest="region", metavar="REGION", help=f"region of {name}'s bucket")
    add("--profile", help=f"profile of the shared AWS files with the credentials for {name}")


def access_of(options: argparse.Namespace) -> Access:
    """Return the address and the credentials of the store at the other end."""
    return Access(options.endpoint, options.region, options.profile)


def jobs_of(options: argparse.Namespace, settings: Settings) -> int:
    """Return how many files to copy at once: at most one for each database connection."""
    jobs: int = options.jobs
    return max(1, min(jobs, settings.threads))


def finish(transfer: Callable[[], int]) -> int:
    """Return the exit status of a transfer; if it cannot be finished, print the reason."""
    try:
        return transfer()
    except BrokenPipeError:  # the reader of the output has ended
        raise
    except (ServiceError, TransactionAbortedError, TransferError, OSError) as exc:
        return failed(exc, UNFINISHED)
