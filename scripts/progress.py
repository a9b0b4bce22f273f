"""The progress of a long command, on standard error."""

import sys
import time
from datetime import timedelta
from typing import Self

_BAR_WIDTH = 20  # characters: with a million items, the line has 80
_BAR_SECONDS = 0.1  # between two drawings of the bar
_CLEAR_LINE = "\r\x1b[K"
_LINES = 20  # in all, at least
_LINE_SECONDS = 30.0  # at most between two lines


class Progress:
    """Draws a bar on a terminal until the block ends; elsewhere prints lines, if `lines` is set."""

    def __init__(self, *, lines: bool) -> None:
        self._is_terminal = sys.stderr.isatty()
        self._lines = lines and not self._is_terminal
        self._what, self._begun, self._shown = "", 0.0, 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.clear()

    def show(self, what: str, done: int, total: int | None) -> None:
        """Show how many items of how many are done. `what` names the items, or the step."""
        now = time.monotonic()
        if what != self._what:
            self._what, self._begun, self._shown = what, now, now
        pause = now - self._shown
        if self._is_terminal and (pause >= _BAR_SECONDS or done == total):
            self._print(_CLEAR_LINE + _bar(what, done, total) + self._speed(done, total))
        is_line_due = total and (pause >= _LINE_SECONDS or done % max(1, total // _LINES) == 0)
        if self._lines and is_line_due:
            self._print(f"{done:,} of {total:,} {what}{self._speed(done, total)}\n")

    def clear(self) -> None:
        """Clear the bar, to make room for a line."""
        if self._is_terminal:
            self._print(_CLEAR_LINE)

    def _speed(self, done: int, total: int | None) -> str:
        elapsed = max(time.monotonic() - self._begun, 0.001)
        left = timedelta(seconds=round(elapsed / done * (total - done))) if total else None
        return f", {done / elapsed:,.1f}/s" + (f", {left} left" if total else "")

    def _print(self, text: str) -> None:
        self._shown = time.monotonic()
        print(text, end="", file=sys.stderr, flush=True)


def _bar(what: str, done: int, total: int | None) -> str:
    if not total:
        return f"{what} {done:,}"
    full = done * _BAR_WIDTH // total
    return f"{what} [{'#' * full}{'.' * (_BAR_WIDTH - full)}] {done:,} of {total:,}"
