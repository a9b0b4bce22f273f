"""Behaviour of all commands: a closed output pipe and invalid options."""

import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from config import Settings
from devstack.service_process import ROOT
from scripts import export_images, import_images, sweep
from tests.support.uploads import on_sqlite

COMMANDS = [
    ["create_tables"],
    ["doctor"],
    ["export_images", "FOLDER"],
    ["import_images", "docs"],
    ["keys", "reader", "read"],
    ["purge", "nobody"],
    ["sweep", "--once"],
    ["sweep", "--interval", "0.01"],
    ["verify"],
    ["verify", "--json"],
]
NAMES = sorted({command[0] for command in COMMANDS} | {"create_user"})  # which needs RDS
END_BY_SIGPIPE = 141  # the status that a shell reports for `yes` in `yes | head`


def run_unread(command: list[str], environment: dict[str, str], *, errors_too: bool) -> str:
    """Run a command with a closed pipe as stdout; return its stderr, if that is open."""
    read_end, write_end = os.pipe()
    os.close(read_end)
    try:
        done = subprocess.run(
            [sys.executable, "-m", f"scripts.{command[0]}", *command[1:]],
            cwd=ROOT,
            # Buffered, as in a shell, so that some output is written only when Python exits.
            env=os.environ | {"PYTHONUNBUFFERED": ""} | environment,
            stdout=write_end,
            stderr=write_end if errors_too else subprocess.PIPE,
            timeout=60,
            text=True,
            check=False,
        )
    finally:
        os.close(write_end)
    assert done.returncode == END_BY_SIGPIPE
    return done.stderr or ""


@on_sqlite
@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_closed_pipe(
    service_environment: dict[str, str], settings: Settings, command: list[str], tmp_path: Path
) -> None:
    """Every command ends silently when the reader of its output ends."""
    assert settings.db_url == service_environment["DB_URL"]
    command = [str(tmp_path) if part == "FOLDER" else part for part in command]
    assert run_unread(command, service_environment, errors_too=False) == ""


@pytest.mark.parametrize("name", NAMES)
def test_closed_pipe_of_the_help(name: str) -> None:
    """`--help | true` prints no error, although Python writes the help text at exit."""
    assert run_unread([name, "--help"], {}, errors_too=False) == ""


@pytest.mark.parametrize("name", NAMES)
def test_closed_pipe_of_the_errors(name: str) -> None:
    """`2>&1 | true` ends a command that reports an error."""
    command = next((command for command in COMMANDS if command[0] == name), [name])
    command = {"keys": ["keys", "@", "read"], "purge": ["purge", "a/b"]}.get(name, command)
    run_unread(command, {"DB_URL": "nonsense"}, errors_too=True)


def test_output_is_utf_8() -> None:
    """A locale without the characters of a name neither ends a command nor changes its output."""
    done = subprocess.run(
        [sys.executable, "-m", "scripts.keys", "shop", "write", "--prefix", "été-"],
        cwd=ROOT,
        env=os.environ | {"PYTHONIOENCODING": "ascii"},
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.decode().endswith(":été-\n")


@pytest.mark.parametrize(
    "value", ["0", "-1", "-0.0", "nan", "-nan", "inf", "-inf", "1e400", "1e300", "soon", ""]
)
def test_interval(value: str, capsys: pytest.CaptureFixture[str]) -> None:
    """An interval that is not positive, or too large, is refused before anything is opened."""
    with pytest.raises(SystemExit) as refused:
        sweep.main([f"--interval={value}"])
    assert refused.value.code == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("python -m scripts.sweep: error: argument --interval: ")
    assert repr(value) in last


@pytest.mark.parametrize("command", [import_images, export_images])
def test_empty_address(command: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    """The address in a variable that is not set does not mean the current folder."""
    with pytest.raises(SystemExit) as refused:
        command.main([""])
    assert refused.value.code == 2
    assert capsys.readouterr().err.endswith(": must not be empty\n")
