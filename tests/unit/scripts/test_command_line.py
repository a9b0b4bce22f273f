"""What all commands share: numbers of seconds, explanations, and how they end."""

from argparse import ArgumentTypeError

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripts.command_line import build_parser, explain, run, seconds


@given(st.floats(0, 10 * 365 * 24 * 3600, exclude_min=True))
def test_seconds(value: float) -> None:
    """Seconds may be any positive number up to ten years."""
    assert seconds(str(value)) == value


@pytest.mark.parametrize("value", ["0", "-1", "nan", "inf", "1e9", "5s", ""])
def test_no_seconds(value: str) -> None:
    """Any other value is refused, and the message repeats it."""
    with pytest.raises(ArgumentTypeError) as refused:
        seconds(value)
    assert repr(value) in str(refused.value)


def test_explain() -> None:
    """An explanation has the first line of the cause, but none of its SQL."""
    error = ValueError("The database is away")
    assert explain(error) == "The database is away"
    error.__cause__ = OSError("connection refused\n[SQL: SELECT secret]")
    assert explain(error) == "The database is away: connection refused"


def test_explain_once() -> None:
    """A cause that the message repeats is not repeated again; without a message it stands alone."""
    for message, explained in (("Bad: the port.", "Bad: the port."), ("", "the port")):
        error = ValueError(message)
        error.__cause__ = OSError("the port")
        assert explain(error) == explained


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    """The help shows the command as users call it, and keeps the lines of its description."""
    with pytest.raises(SystemExit):
        build_parser("sweep", "First.\n\n  Second.").parse_args(["--help"])
    printed = capsys.readouterr().out
    assert printed.startswith("usage: python -m scripts.sweep")
    assert "First.\n\n  Second." in printed


def interrupted() -> int:
    """End like a command on Ctrl-C."""
    raise KeyboardInterrupt


def test_status() -> None:
    """The status is that of the command, and 130 after Ctrl-C."""
    for main, status in ((lambda: 3, 3), (lambda: 0, 0), (interrupted, 130)):
        with pytest.raises(SystemExit) as ended:
            run(main)
        assert ended.value.code == status


def test_bug() -> None:
    """A bug is not hidden."""

    def broken() -> int:
        raise FileNotFoundError("the file")

    with pytest.raises(FileNotFoundError):
        run(broken)
