"""How far a long command is: a bar on a terminal, and a line now and then elsewhere."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Protocol

import click

_LINES = 20  # in all, at least
_LINE_SECONDS = 30.0  # at most between two lines
_CLEAR_LINE = "\r\x1b[K"


class Progress(Protocol):
    """Shows how far a command is, on standard error."""

    def advance(self) -> None:
        """Count one more item."""
        ...

    def clear(self) -> None:
        """Make room for a line on the terminal."""
        ...


@contextmanager
def following(what: str, total: int) -> Iterator[Progress]:
    """Yield what shows the progress of `total` items, such as `files`."""
    if not sys.stderr.isatty():
        yield _Lines(what, total)
        return
    bar = _Bar(what, total)
    with bar.widget:
        yield bar


class _Bar:
    def __init__(self, what: str, total: int) -> None:
        self._done, self._begun = 0, time.monotonic()
        self.widget: Any = click.progressbar(
            length=total,
            file=sys.stderr,
            show_pos=True,
            item_show_func=lambda _: f"{_rate(self._done, self._begun)} {what}/s",
        )

    def advance(self) -> None:
        """Count one more item."""
        self._done += 1
        self.widget.update(1)

    def clear(self) -> None:
        """Clear the line of the bar."""
        print(_CLEAR_LINE, end="", file=sys.stderr, flush=True)


class _Lines:
    def __init__(self, what: str, total: int) -> None:
        self._what, self._total = what, total
        self._done = 0
        self._begun = self._printed = time.monotonic()

    def advance(self) -> None:
        """Count one more item."""
        self._done += 1
        now = time.monotonic()
        step = max(1, self._total // _LINES)
        if self._done % step and now - self._printed < _LINE_SECONDS:
            return
        self._printed = now
        left = (now - self._begun) / self._done * (self._total - self._done)
        print(
            f"{self._done:,} of {self._total:,} {self._what},"
            f" {_rate(self._done, self._begun)} per second,"
            f" {timedelta(seconds=round(left))} left",
            file=sys.stderr,
            flush=True,
        )

    def clear(self) -> None:
        """Do nothing: lines do not overlap."""


def _rate(done: int, begun: float) -> str:
    return f"{done / max(time.monotonic() - begun, 0.001):,.1f}"
