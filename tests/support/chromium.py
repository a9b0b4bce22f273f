"""Starts Chromium, for tests of what a browser does with the service."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, sync_playwright

_QUIET = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]


@contextmanager
def chromium(*arguments: str) -> Iterator[Browser]:
    """Run headless Chromium; skip the test without one, or fail it if REQUIRE_SERVICES is 1."""
    program = shutil.which("chromium")
    if program is None:
        reason = "Chromium is not on the PATH; apt-get install chromium"
        (pytest.fail if os.environ.get("REQUIRE_SERVICES") == "1" else pytest.skip)(reason)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=[*_QUIET, *arguments])
        yield browser
        browser.close()
