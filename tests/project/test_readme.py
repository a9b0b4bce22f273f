"""The README says what is: its session, its Python example, its settings."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from config import Settings
from devstack.service_process import ServiceProcess

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
ENV_EXAMPLE = (ROOT / ".env.example").read_text()
TIMES = {"last_updated_at", "created_at"}

on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def _session() -> list[tuple[str, str]]:
    """The curl session: (command, what it prints)."""
    block = next(b for b in re.findall(r"```console\n(.*?)```", README, re.DOTALL) if "$ curl" in b)
    steps = [step.partition("\n") for step in block.split("$ ")[1:]]
    return [(command, output.strip()) for command, _, output in steps]


def _without_times(document: str) -> object:
    return {key: value for key, value in json.loads(document).items() if key not in TIMES}


@on_sqlite
def test_session(service: ServiceProcess, tmp_path: Path) -> None:
    """The README's curl session gives what the README shows, but for the times."""
    (tmp_path / "docs").symlink_to(ROOT / "docs")
    for command, shown in _session():
        arguments = shlex.split(command.replace("http://127.0.0.1:8000", service.base_url))
        run = subprocess.run(arguments, cwd=tmp_path, capture_output=True, text=True, check=True)
        if shown:
            assert _without_times(run.stdout) == _without_times(shown)
    assert (tmp_path / "copy.jpg").read_bytes() == (ROOT / "docs/sunset.jpg").read_bytes()


@on_sqlite
def test_python_example(service: ServiceProcess, tmp_path: Path) -> None:
    """The README's Python example runs."""
    (tmp_path / "docs").symlink_to(ROOT / "docs")
    found = re.search(r"```python\n(.*?)```", README, re.DOTALL)
    assert found
    example = found[1].replace("http://127.0.0.1:8000", service.base_url)
    run = subprocess.run(
        [sys.executable, "-c", example], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert run.stdout.startswith('640 "')


@pytest.mark.parametrize("field", Settings.model_fields)
def test_settings_are_documented(field: str) -> None:
    """README and .env.example name every setting, with its default."""
    default = Settings.model_fields[field].default
    shown = ",".join(default) if isinstance(default, tuple) else str(default)
    shown = shown.lower() if isinstance(default, bool) else shown
    row = re.search(rf"^\| `{field.upper()}` \| (.*?) ?\|", README, re.MULTILINE)
    line = re.search(rf"^#?{field.upper()}=(.*)$", ENV_EXAMPLE, re.MULTILINE)
    assert row
    assert line
    if default is not None and not Settings.model_fields[field].is_required() and shown:
        assert row[1] == f"`{shown}`"
        assert line[1] == shown


@pytest.mark.parametrize("path", re.findall(r"\]\(([^)h][^)]*)\)", README))
def test_links_lead_somewhere(path: str) -> None:
    """Every relative link of the README names a file."""
    assert (ROOT / path).exists()
