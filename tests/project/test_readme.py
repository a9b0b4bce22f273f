"""README.md and docs/ match the code: session, Python example, reference pages, paths."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from devstack.service_process import ServiceProcess
from tests.tools import reference_pages

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()

on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def _session() -> list[tuple[str, str]]:
    """Return the commands of the curl session, each with its output."""
    block = next(b for b in re.findall(r"```console\n(.*?)```", README, re.DOTALL) if "$ curl" in b)
    steps = [step.partition("\n") for step in block.split("$ ")[1:]]
    return [(command, output.strip()) for command, _, output in steps]


@on_sqlite
def test_session(service: ServiceProcess, tmp_path: Path) -> None:
    """The README's curl session prints what the README shows; `…` stands for anything."""
    (tmp_path / "docs").symlink_to(ROOT / "docs")
    for command, shown in _session():
        arguments = shlex.split(command.replace("http://127.0.0.1:8000", service.base_url))
        run = subprocess.run(arguments, cwd=tmp_path, capture_output=True, text=True, check=True)
        pattern = ".*".join(map(re.escape, shown.split("…")))
        assert re.fullmatch(pattern, run.stdout), (command, run.stdout)
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


@pytest.mark.parametrize(
    ("page", "text"), reference_pages.pages().items(), ids=lambda value: getattr(value, "name", "")
)
def test_reference(page: Path, text: str) -> None:
    """The pages that repeat settings, routes, headers and errors have those of the code."""
    assert page.read_text() == text, "python -m tests.tools.reference_pages"


def test_routes_of_readme() -> None:
    """README lists every route of docs/api.md, `/metrics` and the page."""
    route = r"`([A-Z]+ /[^`]*)`"
    described = re.findall(rf"^### {route}", (ROOT / "docs/api.md").read_text(), re.MULTILINE)
    rows = re.findall(r"^\| (`[A-Z]+ /.*?) \|", README, re.MULTILINE)
    assert set(re.findall(route, "".join(rows))) == {*described, "GET /metrics", "GET /"}


def test_settings_of_readme() -> None:
    """README has at most ten settings, with their default and meaning."""
    rows = re.findall(r"^\| `[A-Z0-9_]+` \|.*$", README, re.MULTILINE)
    assert 0 < len(rows) <= 10
    assert set(rows) <= set(reference_pages.configuration())


PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_linked_files_exist(page: Path) -> None:
    """Every relative link of a page, and every repository path in backticks, exists."""
    text = page.read_text()
    links = [page.parent / link for link in re.findall(r"\]\(([^)h#][^)#]*)\)", text)]
    folders = "|".join(path.name for path in ROOT.iterdir() if (path / "__init__.py").exists())
    paths = [ROOT / path for path in re.findall(rf"`((?:{folders}|docs)/[\w./]*)`", text)]
    assert not [str(path) for path in links + paths if not path.exists()]


def test_every_folder_is_described() -> None:
    """docs/architecture.md describes every folder, and every module of the root."""
    text = (ROOT / "docs" / "architecture.md").read_text()
    layers = [path.parent.name + "/" for path in ROOT.glob("*/__init__.py")]
    layers += [path.name for path in ROOT.glob("*.py")]
    assert not [layer for layer in layers if f"`{layer}`" not in text]
    for package in ("web", "services", "repositories", "adapters", "runtime", "config"):
        for module in (ROOT / package).glob("[a-z]*.py"):
            assert module.name in text, f"{package}/{module.name}"
