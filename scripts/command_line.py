"""What every command shares: its parser, and how it ends."""

import argparse
import errno
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

_LONGEST_SECONDS = 10 * 365 * 24 * 3600


def build_parser(name: str, description: str | None) -> argparse.ArgumentParser:
    """Build the parser of `python -m scripts.NAME`, whose help shows `description` as written."""
    return argparse.ArgumentParser(
        prog=f"python -m scripts.{name}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def seconds(text: str) -> float:
    """Read a positive number of seconds, at most ten years. Raises ArgumentTypeError."""
    try:
        value = float(text)
    except ValueError:
        value = 0
    if not 0 < value <= _LONGEST_SECONDS:  # also refuses NaN
        raise argparse.ArgumentTypeError(
            f"must be a number of seconds above 0 and at most {_LONGEST_SECONDS}, not {text!r}"
        )
    return value


def explain(error: BaseException) -> str:
    """Return the message of an error and the first line of its cause. The others may be SQL."""
    cause = str(error.__cause__ or "").partition("\n")[0]
    return f"{error}: {cause}" if cause else str(error)


def run(main: Callable[[], int]) -> NoReturn:
    """Run a command and exit with the status that it returns.

    A closed pipe, as after `| head`, ends the command silently. The status is then 141, which
    shells report of a program that SIGPIPE ended; Ctrl-C is 130 likewise. Output that cannot be
    written, as to a full disk, is reported in one sentence, and the status is 74 (sysexits.h).
    """
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # it was closed, as by `2>&-`
            setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115 - until the end
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
