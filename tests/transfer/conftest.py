"""Fixtures of imports and exports: a deployment, and the commands that work on it."""

import csv
import io
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from config import Settings
from devstack.object_store import ObjectStore
from repositories.images import ImageRecord
from resources import Resources
from scripts import export_images, import_images
from services.image_store import Uploader


@dataclass(frozen=True)
class Run:
    """The exit status, output and report of a command."""

    status: int
    out: str
    err: str
    report: list[dict[str, Any]]

    @property
    def outcomes(self) -> dict[str, str]:
        """The outcome of each source in the report."""
        return {line["source"]: line["result"] for line in self.report}

    def reason(self, source: str) -> str:
        """Return why a source was refused or skipped."""
        (line,) = [line for line in self.report if line["source"] == source]
        return str(line["reason"])


class Deployment:
    """A service's database and bucket, and an operator's commands on them."""

    def __init__(
        self,
        settings: Settings,
        resources: Resources,
        environment: Callable[[Settings], None],
        capsys: pytest.CaptureFixture[str],
        folder: Path,
    ) -> None:
        self.settings, self.resources = settings, resources
        self._environment, self._capsys, self._folder = environment, capsys, folder

    def take(self, source: object, *options: str, report: str = "report.jsonl") -> Run:
        """Run `scripts.import_images` on a source, with a report."""
        path = self._folder / report
        arguments = [str(source), *options, "--report", str(path)]
        path.unlink(missing_ok=True)
        return self._run(import_images.main, arguments, path)

    def give(self, target: object, *options: str) -> Run:
        """Run `scripts.export_images`."""
        return self._run(export_images.main, [str(target), *options], None)

    def _run(
        self, command: Callable[[list[str]], int], arguments: list[str], report: Path | None
    ) -> Run:
        self._environment(self.settings)
        self._capsys.readouterr()
        status = command(arguments)
        printed = self._capsys.readouterr()
        lines = read_report(report) if report and report.exists() else []
        return Run(status, printed.out, printed.err, lines)

    def put(self, name: str, content: bytes, extension: str = "png") -> ImageRecord:
        """Upload an image."""
        store = self.resources.store(self.resources.sessions())
        by = Uploader(f"key of {name}"[:20])
        stored = store.upload(io.BytesIO(content), name, extension, lambda _: None, by=by)
        if stored.old_key:
            store.remove_unless_kept(stored.old_key)
        return stored.image

    def delete(self, name: str) -> None:
        """Delete an image."""
        store = self.resources.store(self.resources.sessions())
        store.remove_unless_kept(store.delete(name, lambda _: None).s3_key)

    def images(self) -> dict[str, ImageRecord]:
        """Return all images, by name."""
        store = self.resources.store(self.resources.sessions())
        page = store.list("name", "", None, 100_000)
        return {image.name: image for image in page}

    def content(self, name: str) -> bytes:
        """Return the bytes of an image."""
        image = self.images()[name]
        return self.resources.bucket.download_image(image.s3_key).read_all()


def read_report(path: Path) -> list[dict[str, Any]]:
    """Return the lines of a report of either kind."""
    text = path.read_text()
    if path.suffix == ".csv":
        return list(csv.DictReader(io.StringIO(text)))
    return [json.loads(line) for line in text.splitlines()]


@pytest.fixture
def deploy(
    object_store: ObjectStore,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[[Settings], Deployment]]:
    """Return a function that opens a deployment."""

    def environment(settings: Settings) -> None:
        for name, value in object_store.environment().items():
            monkeypatch.setenv(name, value)
        for name in settings.model_fields_set:
            monkeypatch.setenv(name.upper(), str(getattr(settings, name)))

    with ExitStack() as stack:

        def opened(settings: Settings) -> Deployment:
            resources = stack.enter_context(Resources.open(settings))
            folder = tmp_path_factory.mktemp("reports")
            return Deployment(settings, resources, environment, capsys, folder)

        yield opened


@pytest.fixture
def here(deploy: Callable[[Settings], Deployment], settings: Settings) -> Deployment:
    """Return an empty deployment."""
    return deploy(settings)
