"""Long commands show their progress, and docs/moving-in.md names only existing options."""

import re
import sys
from pathlib import Path

import pytest

from devstack.service_process import ROOT
from scripts import export_images, import_images
from tests.support.pictures import png
from tests.support.uploads import on_sqlite
from tests.transfer.conftest import Deployment


@on_sqlite
def test_lines(here: Deployment, tmp_path: Path) -> None:
    """Without a terminal, twenty lines show the files that are done, the rate and the time left."""
    for number in range(60):
        (tmp_path / f"{number}.png").write_bytes(png(8, 8, seed=number))
    lines = here.take(tmp_path).err.splitlines()
    assert len(lines) == 20
    for number, line in enumerate(lines, 1):
        assert re.fullmatch(rf"{3 * number} of 60 files, [\d,]+\.\d/s, \d:\d\d:\d\d left", line)


@on_sqlite
def test_bar(here: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal, a bar with the rate is drawn on standard error, and only there."""
    for number in range(5):
        (tmp_path / f"{number}.png").write_bytes(png(seed=number))
    (tmp_path / "text.txt").write_text("hello")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    done = here.take(tmp_path)
    assert re.search(r"files \[#{20}\] 6 of 6, \d+\.\d/s, 0:00:00 left", done.err)
    assert "\r\x1b[K" in done.err
    assert len(done.out.splitlines()) == 2
    assert "6 of 6" not in done.out


def test_options_of_the_page() -> None:
    """docs/moving-in.md names no option that the commands do not have."""
    page = (ROOT / "docs/moving-in.md").read_text()
    known = {
        option
        for parser in (import_images._parser(), export_images._parser())
        for action in parser._actions
        for option in action.option_strings
    }
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", page))
    assert named - {"--csv"} <= known
    assert {"--names", "--keep-dates", "--dry-run", "--replace", "--report", "--jobs"} <= named
