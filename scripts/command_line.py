"""What all commands share: the parser, messages about failures, and the exit status."""

import argparse
import errno
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from io import TextIOWrapper
from pathlib import Path
from typing import NoReturn

from sqlalchemy.exc import SQLAlchemyError

from errors import TransactionAbortedError, UnavailableError, WriteConflictError

_MAX_SECONDS = 10 * 365 * 24 * 3600


def build_parser(name: str, description: str | None) -> argparse.ArgumentParser:
    """Build the parser of `python -m scripts.NAME`, whose help shows `description` as written."""
    return argparse.ArgumentParser(
        prog=f"python -m scripts.{name}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def seconds(text: str) -> float:
    """Parse a positive number of seconds, at most ten years. Raises ArgumentTypeError."""
    try:
        value = float(text)
    except ValueError:
        value = 0
    if not 0 < value <= _MAX_SECONDS:  # also refuses NaN
        raise argparse.ArgumentTypeError(
            f"must be a number of seconds above 0 and at most {_MAX_SECONDS}, not {text!r}"
        )
    return value


def explain(error: BaseException) -> str:
    """Return the message of an error and the first line of its cause; later lines may be SQL."""
    message, cause = str(error), error.__cause__
    if isinstance(error, SQLAlchemyError):
        message, cause = "The database refused", getattr(error, "orig", None) or error
    line = str(cause or "").strip().partition("\n")[0]
    return ": ".join(filter(None, (message, "" if line in message else line)))


def failed(error: Exception, status: int = 1) -> int:
    """Print why a command failed, and whether to run it again; return its exit status."""
    is_temporary = isinstance(
        error, UnavailableError | WriteConflictError | TransactionAbortedError
    )
    print(explain(error) + ("; run it again" if is_temporary else ""), file=sys.stderr)
    return status


def run(main: Callable[[], int]) -> NoReturn:
    """Run a command and exit with the status that it returns.

    A closed pipe, as after `| head`, ends the command silently with status 141, which shells report
    for a program that SIGPIPE ended. Ctrl-C gives 130 in the same way. If the output cannot be
    written, for example to a full disk, one sentence says so, and the status is 74 (sysexits.h).
    """
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed, for example by `2>&-`
            setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115 - until the end
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8")  # names need it, whatever the locale
    try:
        try:
            status = main()
        finally:
            print(end="", flush=True)
    except OSError as exc:
        if exc.errno not in {errno.EPIPE, errno.ENOSPC, errno.EIO}:
            raise
        status = 128 + signal.SIGPIPE if exc.errno == errno.EPIPE else os.EX_IOERR
        with suppress(OSError):
            if status == os.EX_IOERR:
                print(f"The output cannot be written: {exc.strerror}.", file=sys.stderr)
        # Python flushes both once more as it exits.
        for stream in (sys.stdout, sys.stderr):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    except KeyboardInterrupt:
        status = 128 + signal.SIGINT
    sys.exit(status)
