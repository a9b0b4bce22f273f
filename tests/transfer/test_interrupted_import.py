"""SIGKILL during an import, and a database or store that fails; the next run continues."""

import os
import re
import signal
import subprocess
import sys
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from devstack.service_process import ROOT
from errors import OutOfResourcesError, OverloadedError, ServiceError, WriteConflictError
from services.bulk_writes import NewImage
from services.image_store import ImageStore
from services.inspection import Inspector
from services.maintenance.verification import Verifier
from tests.support.fault_proxy import FaultProxy
from tests.support.pictures import PICTURES, noise_png, png
from tests.support.uploads import on_sqlite
from tests.transfer.conftest import Deployment, read_report

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mypy_boto3_s3 import S3Client

FILES = pytest.mark.parametrize("files", [400, pytest.param(10_000, marks=pytest.mark.soak)])
MOST_MEMORY = 300 * 1024 * 1024
on_postgresql = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)


def mixed(number: int) -> tuple[str, bytes]:
    """Return the path and the content of a file of any kind; one in ten must be refused."""
    if number % 10 == 0:
        broken = [
            ("txt", b"text"),
            ("png", png(seed=number)[:-9]),
            ("jpg", b""),
            ("gif", b"GIF89a"),
        ]
        extension, content = broken[number // 10 % len(broken)]
        return f"{number % 7}/image-{number:05}.{extension}", content
    extension, make = list(PICTURES.items())[number % len(PICTURES)]
    if number % 97 == 0:
        return f"{number % 7}/image-{number:05}.png", noise_png(1_500_000, seed=number)
    return f"{number % 7}/image-{number:05}.{extension}", make(seed=number)


class Import:
    """One run of the command as a process, and the peak memory of it and its decoders."""

    def __init__(self, arguments: list[str], environment: dict[str, str]) -> None:
        self._command = [sys.executable, "-m", "scripts.import_images", *arguments]
        self._environment = os.environ | environment
        self.progress: list[str] = []
        self.memory = 0

    def run(self, kill_after: int | None = None) -> int:
        """Return the status. Kill the process after `kill_after` lines of progress."""
        with subprocess.Popen(
            self._command,
            cwd=ROOT,
            env=self._environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stderr
            for line in process.stderr:
                self.progress.append(line)
                self.memory = max(self.memory, memory_of(process.pid))
                if len(self.progress) == kill_after:
                    process.send_signal(signal.SIGKILL)
                    break
        return process.returncode


def memory_of(pid: int) -> int:
    """Return the resident bytes of a process and its children."""
    family, total = [str(pid)], 0
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            family += children.read_text().split()
    for one in family:
        with suppress(OSError):
            status = Path(f"/proc/{one}/status").read_text()
            total += sum(map(int, re.findall(r"VmRSS:\s*(\d+)", status))) * 1024
    return total


def check_all(number: int, final: list[dict[str, Any]], here: Deployment) -> None:
    """Assert that each file has become an image, or is refused in the report."""
    files = dict(mixed(i) for i in range(number))
    assert {line["source"] for line in final} == set(files)
    refused = {line["source"] for line in final if line["result"] == "refused"}
    assert refused == {mixed(i)[0] for i in range(0, number, 10)}
    assert all(line["reason"] for line in final if line["result"] == "refused")
    names = {Path(path).stem: body for path, body in files.items() if path not in refused}
    assert set(here.images()) == set(names)
    for name in list(names)[:: max(1, len(names) // 50)]:
        assert here.content(name) == names[name]


@pytest.fixture(params=["folder", "bucket"])
def place(
    request: pytest.FixtureRequest,
    files: int,
    s3: "S3Client",
    new_bucket: "Callable[[], str]",
    tmp_path: Path,
) -> str:
    """Return the address of a source with this number of files."""
    if request.param == "bucket":
        bucket = new_bucket()
        for path, content in map(mixed, range(files)):
            s3.put_object(Bucket=bucket, Key=f"in/{path}", Body=content)
        return f"s3://{bucket}/in"
    for path, content in map(mixed, range(files)):
        (tmp_path / "in" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / path).write_bytes(content)
    return str(tmp_path / "in")


@FILES
@on_postgresql
def test_killed(
    here: Deployment,
    service_environment: dict[str, str],
    tmp_path: Path,
    place: str,
    files: int,
) -> None:
    """Three SIGKILLs lose nothing, and leave only objects that the journal has."""
    report, stored, memory = tmp_path / "report.csv", 0, 0
    # A line is a twentieth of the files. Four threads are less than five lines ahead.
    for lines in (2, 7, 12):
        killed = Import([place, "--report", str(report), "--jobs", "4"], service_environment)
        assert killed.run(kill_after=lines) == -signal.SIGKILL
        assert stored < len(here.images()) < files
        stored, memory = len(here.images()), max(memory, killed.memory)
    last = Import([place, "--report", str(report)], service_environment)
    assert last.run() == 1
    assert f"{files:,} of {files:,} files" in last.progress[-1]
    final = read_report(report)
    assert Counter(line["result"] for line in final)["unchanged"] >= stored
    check_all(files, final, here)
    assert max(memory, last.memory) < MOST_MEMORY
    resources = here.resources
    verifier = Verifier(resources.sessions, resources.bucket, here.settings, deep=True)
    verification = verifier.verify(lambda _: None, lambda *_: None)
    assert verification.clean
    assert verification.images == files * 9 // 10


@on_sqlite
def test_store_fails_once(here: Deployment, tmp_path: Path) -> None:
    """A failed PUT is repeated under another key; nothing is refused."""
    (tmp_path / "a.png").write_bytes(png())
    port = int(str(here.settings.aws_endpoint_url_s3).rpartition(":")[2])
    whole = here.settings
    with FaultProxy(("127.0.0.1", port)) as proxy:
        endpoint = f"http://127.0.0.1:{proxy.address[1]}"
        here.settings = whole.model_copy(update={"aws_endpoint_url_s3": endpoint})
        lost = proxy.cut_after(b"PUT /")
        done = here.take(tmp_path)
    assert (lost.fired, done.status, done.outcomes) == (1, 0, {"a.png": "created"})
    here.settings = whole
    assert here.content("a") == png()


@on_sqlite
def test_names_taken_meanwhile(
    here: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An import notices images that appear meanwhile; the rest of their batch is stored."""
    for number, name in enumerate("abc"):
        (tmp_path / f"{name}.png").write_bytes(png(seed=number))
    together = ImageStore.upload_new

    def late(store: ImageStore, batch: "Sequence[NewImage]") -> None:
        here.put("a", png(seed=0))
        here.put("b", png(seed=9))
        together(store, batch)

    monkeypatch.setattr(ImageStore, "upload_new", late)
    done = here.take(tmp_path)
    assert done.outcomes == {"a.png": "unchanged", "b.png": "refused", "c.png": "created"}
    assert (here.content("b"), here.content("c")) == (png(seed=9), png(seed=2))
    objects = {key for key, _ in here.resources.bucket.list_objects()}
    assert objects == {image.s3_key for image in here.images().values()}


@on_sqlite
@pytest.mark.parametrize(
    ("setting", "value", "reason"),
    [
        ("aws_endpoint_url_s3", "http://127.0.0.1:1", "image storage is temporarily unavailable"),
        ("db_url", "sqlite:////nowhere/images.db", "database is temporarily unavailable"),
    ],
)
def test_backend_fails(
    here: Deployment, tmp_path: Path, setting: str, value: str, reason: str
) -> None:
    """If the database or the store fails permanently, the import ends with status 2."""
    (tmp_path / "a.png").write_bytes(png())
    changes = {setting: value, "s3_max_attempts": 1}
    whole, here.settings = here.settings, here.settings.model_copy(update=changes)
    failed = here.take(tmp_path)
    assert (failed.status, reason in failed.err) == (2, True)
    here.settings = whole
    assert here.take(tmp_path).outcomes == {"a.png": "created"}


@on_sqlite
@pytest.mark.parametrize("error", [OverloadedError, OutOfResourcesError, WriteConflictError])
def test_overloaded(
    here: Deployment,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: type[ServiceError],
) -> None:
    """If files cannot be inspected now, the import ends with status 2 and refuses none of them."""
    (tmp_path / "a.png").write_bytes(png())

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("services.transfer.retries.time.sleep", lambda _: None)
    with monkeypatch.context() as overloaded:
        overloaded.setattr(Inspector, "inspect", fail)
        failed = here.take(tmp_path)
    assert (failed.status, failed.outcomes, failed.out) == (2, {}, "")
    assert failed.err.endswith("; run it again\n")
    assert here.take(tmp_path).outcomes == {"a.png": "created"}
