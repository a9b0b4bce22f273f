"""The service starts with settings from the environment or `.env`, and says why it does not."""

import json
import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from config import Settings
from devstack.service_process import ROOT, ServiceProcess
from devstack.waiting import free_port
from tests.support import pictures
from tests.support.uploads import on_sqlite, upload

MINIMAL = {
    "DB_URL": "sqlite:///images.db",
    "AWS_REGION": "us-east-1",
    "AWS_S3_BUCKET": "images",
    "AWS_ACCESS_KEY_ID": "key",
    "AWS_SECRET_ACCESS_KEY": "secret",
}


def environment(folder: Path, changes: dict[str, str | None]) -> dict[str, str]:
    """Return this process's environment with the given settings and no others."""
    names = {field.upper() for field in Settings.model_fields}
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("AWS_") and name not in names
    }
    given = {name: value for name, value in changes.items() if value is not None}
    return {**kept, "HOME": str(folder), "PYTHONPATH": str(ROOT), **given}


def run(folder: Path, changes: dict[str, str | None], *command: str) -> tuple[int, str, str]:
    """Run Python in an empty folder; return exit status, output and errors."""
    done = subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env=environment(folder, changes),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        (dict.fromkeys(MINIMAL), ["DB_URL", "AWS_REGION", "AWS_S3_BUCKET"]),
        ({"MAX_PIXELS": "many", "AWS_REGION": None}, ["AWS_REGION", "MAX_PIXELS"]),
        ({"DB_URL": "postgresql+asyncpg://user:hunter2@host/images"}, ["DB_URL"]),
    ],
)
def test_refused_start(tmp_path: Path, changes: dict[str, str | None], named: list[str]) -> None:
    """The server names all invalid variables in one sentence and exits without a traceback."""
    address = ("--host", "127.0.0.1", "--port", str(free_port()))
    arguments = ("-m", "uvicorn", "main:app", *address)
    status, output, errors = run(tmp_path, {**MINIMAL, **changes}, *arguments)
    assert status != 0
    assert "Traceback" not in errors
    assert "hunter2" not in output + errors
    (sentence,) = (line for line in errors.splitlines() if "Configuration:" in line)
    assert [name for name in [*MINIMAL, "MAX_PIXELS"] if name in sentence] == named


def test_import_without_environment(tmp_path: Path) -> None:
    """Importing `main` needs no variable, and its `app` is the application."""
    program = "import main, fastapi; print(isinstance(main.app, fastapi.FastAPI), main.app.title)"
    assert run(tmp_path, {}, "-W", "error", "-c", program) == (0, "True Image API\n", "")
    assert not list(tmp_path.iterdir())


def test_import_reads_nothing(tmp_path: Path) -> None:
    """Importing `main` reads no settings, so invalid ones fail only when the server starts."""
    (tmp_path / ".env").write_text("MAX_PIXELS=many\n")
    wrong: dict[str, str | None] = {"DB_URL": "nonsense"}
    assert run(tmp_path, wrong, "-c", "import main") == (0, "", "")


class WithEnvFile(ServiceProcess):
    """A service that reads variables from a file `.env` in its working directory."""

    def __init__(self, in_file: dict[str, str], environment: dict[str, str]) -> None:
        super().__init__(environment)
        self._lines = [f"{name}={json.dumps(value)}" for name, value in in_file.items()]

    def start(self, *, timeout: float = 30) -> None:
        """Write the file, then start the service."""
        (self.folder / ".env").write_text("\n".join(["# Ours", *self._lines, ""]))
        super().start(timeout=timeout)


@on_sqlite
def test_env_file(service_environment: dict[str, str]) -> None:
    """`.env` sets everything, including boto3's credentials; the environment overrides it."""
    in_file = {**service_environment, "MAX_UPLOAD_BYTES": "1", "ALLOWED_EXTENSIONS": "png, JPG"}
    with (
        WithEnvFile(in_file, {"MAX_UPLOAD_BYTES": "100000"}) as service,
        httpx.Client(base_url=service.base_url) as client,
    ):
        assert client.get("/health/ready").json()["checks"] == {"database": "ok", "bucket": "ok"}
        assert upload(client, pictures.png(), "a.png").status_code == 201
        assert upload(client, pictures.jpeg(), "a.jpg").status_code == 200
        assert upload(client, pictures.gif(), "a.gif").status_code == 400
        assert upload(client, bytes(100_001), "a.png").status_code == 413
        assert client.get("/images/a").content == pictures.jpeg()


@pytest.mark.parametrize(
    ("root_path", "prefix"),
    [("/photos/", "/photos"), ("photos", "/photos"), ("//a/b//", "/a/b"), ("/", ""), ("", "")],
)
@on_sqlite
def test_root_path(service_environment: dict[str, str], root_path: str, prefix: str) -> None:
    """Addresses are valid however the prefix of a proxy is written."""
    with (
        ServiceProcess(service_environment, args=["--root-path", root_path]) as service,
        httpx.Client(base_url=service.base_url) as client,
    ):
        stored = upload(client, pictures.png())
        assert stored.headers["Location"] == stored.json()["url"]
        assert stored.json()["url"].startswith(f"{prefix}/images/a?")
        assert upload(client, pictures.png(), name="b").is_success
        assert client.get("/images?limit=1").headers["Link"].startswith(f"<{prefix}/images?")


@pytest.mark.parametrize("root_path", ["/f\xfcr", "/a b", "/%41", "/a?b", "/a//b"])
def test_refused_root_path(tmp_path: Path, root_path: str) -> None:
    """A prefix that is not the path of a URL stops the start; uvicorn would fail every request."""
    arguments = ["-m", "uvicorn", "main:app", "--app-dir", str(ROOT), "--root-path", root_path]
    port = str(free_port())
    status, out, err = run(tmp_path, {**MINIMAL}, *arguments, "--port", port)
    assert status == 3
    assert "--root-path" in out + err
    assert "Traceback" not in out + err
